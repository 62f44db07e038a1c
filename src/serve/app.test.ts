/** The API in process: what it takes, what it refuses, and what a reply holds. */
import { readFileSync } from "node:fs";
import { describe, expect, test } from "vitest";
import { numPositions, type Sampler } from "../engine/types.ts";
import { chat, smallConfig } from "../task/fixtures/scene.ts";
import { ChatFormat } from "../text/chat.ts";
import { ScriptedSampler, type Line } from "../task/fixtures/scripted-sampler.ts";
import { createApp, type AppOptions } from "./app.ts";
import { dataUrl, errorOf, eventsOf, replyOf, StuckSampler, withTokens } from "./fixtures/api.ts";

const { tokenizer } = chat;
const format = smallConfig({});

function appOf(sampler: Sampler, more: Partial<AppOptions> = {}) {
  return createApp({ sampler, format, model: "nano", ...more });
}

function scripted(...lines: Line[]) {
  return new ScriptedSampler(tokenizer, lines, 4096);
}

const hello = { model: "nano", messages: [{ role: "user", content: "hello" }] };

function post(app: ReturnType<typeof createApp>, body: unknown, init: RequestInit = {}) {
  return app.request("/v1/chat/completions", {
    method: "POST",
    headers: { "content-type": "application/json" },
    body: typeof body === "string" ? body : JSON.stringify(body),
    ...init,
  });
}

describe("a completion", () => {
  test("holds the text without control tokens, counts, and why it ended", async () => {
    const sampler = scripted("hi there");
    const reply = await replyOf(post(appOf(sampler), hello));
    expect(reply.choices).toEqual([
      {
        index: 0,
        message: { role: "assistant", content: "hi there", refusal: null },
        logprobs: null,
        finish_reason: "stop",
        stop_reason: null,
      },
    ]);
    const numPrompt = numPositions(sampler.asked[0].prompt);
    const numSaid = tokenizer.encode("hi there").length + 1;
    expect(reply.usage).toEqual({
      prompt_tokens: numPrompt,
      completion_tokens: numSaid,
      total_tokens: numPrompt + numSaid,
    });
    expect(reply).not.toHaveProperty("prompt_token_ids");
  });

  test("thinks or not, as the request says of a template that lets it choose", async () => {
    const file = new URL("../text/fixtures/templates/thinking-xml.jinja", import.meta.url);
    const own = new ChatFormat(tokenizer, readFileSync(file, "utf8"), "thinking");
    const endOf = async (kwargs: object | null): Promise<string> => {
      const sampler = scripted("hi");
      const app = appOf(sampler, { format: { ...format, chat: own } });
      await replyOf(post(app, { ...hello, chat_template_kwargs: kwargs }));
      const [piece] = sampler.asked[0].prompt;
      return piece.type === "text" ? tokenizer.decode(piece.tokens).split("assistant\n")[1] : "";
    };
    expect(await endOf({ enable_thinking: true })).toBe("<think>\n");
    for (const kwargs of [null, {}, { enable_thinking: null }, { enable_thinking: false }])
      expect(await endOf(kwargs)).toBe("<think>\n\n</think>\n\n");
    const without = { ...hello, chat_template_kwargs: { enable_thinking: true } };
    expect(await errorOf(post(appOf(scripted()), without))).toMatchObject({
      status: 400,
      message: expect.stringContaining("knows no enable_thinking") as string,
    });
    const other = { ...hello, chat_template_kwargs: { add_vision_id: true } };
    expect(await errorOf(post(appOf(scripted()), other))).toMatchObject({
      status: 400,
      message: expect.stringContaining("add_vision_id") as string,
    });
  });

  test("strips the stop string, or keeps it", async () => {
    const body = { ...hello, stop: ["</answer>"] };
    const app = appOf(scripted("<answer> 7 </answer> more", "<answer> 7 </answer> more"));
    const stripped = await replyOf(post(app, body));
    expect(stripped.choices[0].message?.content).toBe("<answer> 7 ");
    expect(stripped.choices[0].stop_reason).toBe("</answer>");
    const kept = await replyOf(post(app, { ...body, include_stop_str_in_output: true }));
    expect(kept.choices[0].message?.content).toBe("<answer> 7 </answer>");
  });

  test("says which tokens it read and sampled, with their log-probabilities", async () => {
    const sampler = scripted("it is 7");
    const body = { ...hello, logprobs: true, return_token_ids: true };
    const reply = await replyOf(post(appOf(sampler), body));
    const ids = [...tokenizer.encode("it is 7"), tokenizer.eosId];
    expect(reply.choices[0].token_ids).toEqual(ids);
    const entries = reply.choices[0].logprobs?.content ?? [];
    expect(entries.map((entry) => entry.logprob)).toEqual(ids.map((_, i) => -(i + 1) / 8));
    expect(entries[0]).toMatchObject({ token: "it", bytes: [105, 116], top_logprobs: [] });
    const [asked] = sampler.asked;
    expect(asked.prompt).toEqual([{ type: "text", tokens: reply.prompt_token_ids }]);
    expect(reply.weights_version).toBe(3);
  });

  test("takes several images between texts, at the model's size", async () => {
    const sampler = scripted("two");
    const url = await dataUrl(448, 448);
    const content = [
      { type: "image_url", image_url: { url } },
      { type: "text", text: "and" },
      { type: "image_url", image_url: { url: await dataUrl(), detail: "high" } },
      { type: "text", text: "how many?" },
    ];
    const messages = [{ role: "user", content }];
    const body = { ...hello, messages, return_token_ids: true };
    const reply = await replyOf(post(appOf(sampler), body));
    const shown = sampler.asked[0].prompt.flatMap((chunk) =>
      chunk.type === "image" ? [chunk.image] : [],
    );
    expect(shown.map(({ widthPx, numTokens }) => [widthPx, numTokens])).toEqual([
      [112, 16],
      [112, 16],
    ]);
    expect(shown[0].hash).not.toBe(shown[1].hash);
    const pads = (reply.prompt_token_ids ?? []).filter((id) => id === tokenizer.imagePadId);
    expect(pads).toHaveLength(32);
  });

  test("gives n choices, of which the first is that of n = 1", async () => {
    const sampler = new ScriptedSampler(tokenizer, (_, { seed }) => `seed ${seed}`);
    const reply = await replyOf(post(appOf(sampler), { ...hello, n: 3, seed: 5 }));
    const texts = reply.choices.map((one) => one.message?.content);
    expect(texts[0]).toBe("seed 5");
    expect(new Set(texts).size).toBe(3);
  });

  test("goes on with an open assistant message", async () => {
    const sampler = scripted(" 7 </answer>");
    const messages = [...hello.messages, { role: "assistant", content: "<answer>" }];
    const body = { ...hello, messages, continue_final_message: true, add_generation_prompt: false };
    await post(appOf(sampler), body);
    const [{ prompt }] = sampler.asked;
    const text = prompt.map((one) => (one.type === "text" ? tokenizer.decode(one.tokens) : ""));
    expect(text.join("")).toMatch(/<\|im_start\|>assistant\n<answer>$/);
  });

  test("passes the sampling parameters on", async () => {
    const sampler = scripted("x");
    const params = { temperature: 0.5, top_p: 0.9, top_k: 40, seed: 7, max_tokens: 9, stop: "!" };
    await post(appOf(sampler), { ...hello, ...params });
    expect(sampler.asked[0].params).toEqual({
      temperature: 0.5,
      topP: 0.9,
      topK: 40,
      seed: 7,
      maxTokens: 9,
      stop: ["!"],
    });
  });
});

describe("a stream", () => {
  test("joined is the whole reply, tokens and all", async () => {
    const body = { ...hello, logprobs: true, return_token_ids: true, n: 2, seed: 1 };
    const sampler = () => new ScriptedSampler(tokenizer, (_, { seed }) => `say ${seed}`);
    const whole = await replyOf(post(appOf(sampler()), body));
    const streamed = { ...body, stream: true, stream_options: { include_usage: true } };
    const events = await eventsOf(post(appOf(sampler()), streamed));
    for (const choice of whole.choices) {
      const own = events.flatMap((event) =>
        event.choices.filter((one) => one.index === choice.index),
      );
      expect(own[0].delta?.role).toBe("assistant");
      expect(own.map((one) => one.delta?.content ?? "").join("")).toBe(choice.message?.content);
      expect(own.flatMap((one) => one.token_ids ?? [])).toEqual(choice.token_ids);
      expect(own.flatMap((one) => one.logprobs?.content ?? [])).toEqual(choice.logprobs?.content);
      expect(own.at(-1)?.finish_reason).toBe(choice.finish_reason);
    }
    expect(events[0].prompt_token_ids).toEqual(whole.prompt_token_ids);
    expect(events.at(-1)?.usage).toEqual(whole.usage);
  });

  test("comes token by token where the engine tells, and never takes a stop string back", async () => {
    const text = "a <answer> b </answer> c";
    const told: Sampler = withTokens(scripted(text));
    const events = await eventsOf(
      post(appOf(told), { ...hello, stream: true, stop: ["</answer>"] }),
    );
    const pieces = events.map((event) => event.choices[0].delta?.content ?? "");
    expect(pieces.filter((piece) => piece !== "").length).toBeGreaterThan(3);
    expect(pieces.join("")).toBe("a <answer> b ");
  });

  test("that fails ends with an error event", async () => {
    const errors: unknown[] = [];
    const app = appOf(scripted(new Error("no luck")), { onError: (error) => errors.push(error) });
    const text = await (await post(app, { ...hello, stream: true })).text();
    expect(text).toMatch(/data: \{"error":\{"message":"the server failed/);
    expect(text).not.toContain("[DONE]");
    expect(errors).toEqual([new Error("no luck")]);
  });
});

describe("refused", () => {
  const app = appOf(scripted("x"), {
    limits: { maxImages: 1, maxImagePixels: 50_000, maxBodyBytes: 10 ** 6 },
  });
  const image = (url: string) => ({ type: "image_url", image_url: { url } });
  const asking = (...content: unknown[]) => ({ ...hello, messages: [{ role: "user", content }] });

  test.each([
    ["not JSON", "{", 400, /not JSON/],
    ["no messages", { model: "nano", messages: [] }, 400, /^messages: /],
    ["another model", { ...hello, model: "gpt" }, 404, /no model "gpt"; this server has nano/],
    ["an unknown key", { ...hello, best_of: 2 }, 400, /^best_of: this server does not know it/],
    ["a penalty", { ...hello, frequency_penalty: 1 }, 400, /^frequency_penalty: /],
    ["a role", { ...hello, messages: [{ role: "me", content: "" }] }, 400, /^messages.0.role/],
    ["a heat", { ...hello, temperature: -1 }, 400, /^temperature: /],
    ["too long an answer", { ...hello, max_tokens: 5000 }, 400, /the model has 4096 positions/],
    ["a web address", asking(image("https://example.org/a.png")), 400, /image 1: not a data URL/],
    ["no image", asking(image("data:image/png;base64,AAAA")), 400, /image 1/],
    [
      "control tokens",
      { ...hello, messages: [{ role: "user", content: "<|im_end|>" }] },
      400,
      /control token/,
    ],
    [
      "both ends",
      { ...hello, continue_final_message: true, add_generation_prompt: true },
      400,
      /exclude each other/,
    ],
    ["foreign ids", { ...hello, input_ids: [1, 2, 3] }, 400, /do not spell/],
    ["a large body", { ...hello, user: "x".repeat(10 ** 6) }, 413, /larger than 1000000 bytes/],
  ])("%s", async (_, body, status, message) => {
    const error = await errorOf(post(app, body));
    expect(error.status).toBe(status);
    expect(error.message).toMatch(message);
  });

  test("too many images, and one that is too large", async () => {
    const url = await dataUrl();
    expect((await errorOf(post(app, asking(image(url), image(url))))).message).toMatch(
      /2 images, this server takes 1/,
    );
    const large = await errorOf(post(app, asking(image(await dataUrl(300, 300)))));
    expect(large).toMatchObject({ status: 400 });
    expect(large.message).toMatch(/more than 50,000 pixels/);
  });

  test("a form from another page", async () => {
    const headers = { "content-type": "text/plain" };
    expect((await errorOf(post(app, hello, { headers }))).status).toBe(415);
  });

  test("a wrong key, but not on /health", async () => {
    const locked = appOf(scripted("x"), { apiKey: "open sesame" });
    expect((await errorOf(post(locked, hello))).status).toBe(401);
    expect((await locked.request("/v1/models")).status).toBe(401);
    expect((await locked.request("/health")).status).toBe(200);
    const authorization = "Bearer open sesame";
    expect((await locked.request("/v1/models", { headers: { authorization } })).status).toBe(200);
  });

  test("an unknown place", async () => {
    const error = await errorOf(await app.request("/v1/embeddings"));
    expect(error).toMatchObject({ status: 404, message: "there is no GET /v1/embeddings" });
  });
});

test("models and health", async () => {
  const app = appOf(scripted());
  const card = { id: "nano", owned_by: "vigorl", max_model_len: 4096 };
  const list: unknown = await (await app.request("/v1/models")).json();
  expect(list).toMatchObject({ object: "list", data: [card] });
  expect(await (await app.request("/v1/models/nano")).json()).toMatchObject(card);
  expect((await app.request("/v1/models/other")).status).toBe(404);
  expect(await (await app.request("/health")).json()).toEqual({ status: "ok", running: 0 });
});

test("a client that goes away stops its sampling, and frees its place", async () => {
  const stuck = new StuckSampler(scripted().capabilities);
  const app = appOf(stuck, { limits: { maxRequests: 1 } });
  for (const stream of [false, true]) {
    const client = new AbortController();
    const pending = post(app, { ...hello, stream }, { signal: client.signal });
    await stuck.asked();
    expect((await errorOf(post(app, hello))).status).toBe(429);
    client.abort();
    await stuck.stopped();
    const response = await pending;
    if (stream) await response.text();
    expect(await (await app.request("/health")).json()).toMatchObject({ running: 0 });
  }
});
