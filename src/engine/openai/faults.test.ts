/** Everything that can go wrong on the line, injected behind a real port. */
import { afterEach, describe, expect, test } from "vitest";
import { VigorlError } from "../../core/errors.ts";
import { createApp } from "../../serve/app.ts";
import { StuckSampler } from "../../serve/fixtures/api.ts";
import { chat, smallConfig } from "../../task/fixtures/scene.ts";
import { ScriptedSampler } from "../../task/fixtures/scripted-sampler.ts";
import { samplingOnly } from "../capabilities.ts";
import { ReplyFault } from "../reply-fault.ts";
import type { Chunk, SampleParams, Sampler } from "../types.ts";
import { retryAfterMs } from "../remote/faults.ts";
import { startFaultyServer, type ServerFault } from "./fixtures/faulty-server.ts";
import type { RemoteOptions } from "./options.ts";
import { openRemoteSampler } from "./sampler.ts";

const params: SampleParams = {
  maxTokens: 64,
  temperature: 1,
  topP: 1,
  topK: 0,
  stop: [],
  seed: 1,
};
const prompt = chat.encodePrompt([{ role: "user", content: "hello" }], {
  addGenerationPrompt: true,
}) as Chunk[];

const open: { close(): Promise<void> }[] = [];
afterEach(async () => {
  for (const one of open.splice(0).reverse()) await one.close();
});

async function serverWith(
  fault?: (request: number) => ServerFault | null,
  inner: Sampler = new ScriptedSampler(chat.tokenizer, () => "fine"),
  apiKey?: string,
) {
  const format = smallConfig({});
  const key = apiKey === undefined ? {} : { apiKey };
  const server = await startFaultyServer(
    createApp({ sampler: inner, format, model: "m", ...key }),
    fault,
  );
  open.push(server);
  return server;
}

async function remote(baseUrl: string, more: Partial<RemoteOptions> = {}): Promise<Sampler> {
  const sampler = await openRemoteSampler({
    baseUrl,
    model: "m",
    chat,
    retries: 0,
    retryDelayMs: 1,
    ...more,
  });
  open.push(sampler);
  return sampler;
}

async function errorOf(work: Promise<unknown>): Promise<VigorlError> {
  const error = await work.then(
    () => new Error("it worked"),
    (thrown: unknown) => thrown,
  );
  if (error instanceof VigorlError) return error;
  throw error;
}

const cut: ServerFault = { kind: "cut", afterWrites: 0 };
const body = (text: string, type = "text/event-stream"): ServerFault => ({
  kind: "body",
  type,
  body: text,
});
const said = `data: ${JSON.stringify({ choices: [{ delta: { content: "a" } }] })}\n\n`;

describe("a fault is named with its address, what was said, and the fix", () => {
  test.each<[string, ServerFault, string, RegExp, RegExp]>([
    ["400", { kind: "status", status: 400 }, "input", /400: injected 400/, /plain/],
    ["401", { kind: "status", status: 401 }, "usage", /401: injected 401/, /API key/],
    ["403", { kind: "status", status: 403 }, "usage", /403: injected 403/, /access to m/],
    ["404", { kind: "status", status: 404 }, "usage", /404: injected 404/, /a model m/],
    ["413", { kind: "status", status: 413 }, "input", /413: injected 413/, /smaller images/],
    ["429", { kind: "status", status: 429 }, "io", /429: injected 429/, /concurrency/],
    ["500", { kind: "status", status: 500 }, "io", /500: injected 500/, /log/],
    ["503", { kind: "status", status: 503 }, "io", /503: injected 503/, /log/],
    ["silence", { kind: "hang", headers: false }, "io", /no sign of life for 0.2 s/, /time-out/],
    [
      "silence behind headers",
      { kind: "hang", headers: true },
      "io",
      /no sign of life/,
      /time-out/,
    ],
    ["a dropped connection", cut, "io", /the connection was cut/, /log/],
    ["half a stream", { kind: "cut", afterWrites: 1 }, "io", /the connection was cut/, /log/],
    ["a stream without its end", body(said), "io", /cut before the answer was complete/, /log/],
    ["malformed JSON", body(`${said}data: {"choices": [\n\n`), "io", /malformed JSON/, /\/v1/],
    ["another protocol", body(`data: {"a": 1}\n\n`), "io", /not an event of the protocol/, /\/v1/],
    ["a web page", body("<html>", "text/html"), "io", /sent text\/html/, /\/v1/],
    [
      "an error inside the stream",
      body(`${said}data: {"error": {"message": "out of memory"}}\n\n`),
      "io",
      /failed while answering: out of memory/,
      /log/,
    ],
    [
      "a filter",
      body(`data: {"choices": [{"delta": {}, "finish_reason": "content_filter"}]}\n\n`),
      "input",
      /finish_reason "content_filter"/,
      /another model/,
    ],
  ])("%s", async (_, fault, code, message, hint) => {
    const server = await serverWith(() => fault);
    const timeoutMs = fault.kind === "hang" ? 200 : 60_000;
    const sampler = await remote(server.url, { timeoutMs, dialect: "vigorl", maxPositions: 4096 });
    const error = await errorOf(sampler.sample(prompt, params));
    expect(error.code).toBe(code);
    expect(error.message).toContain(`${server.url}/chat/completions: `);
    expect(error.message).toMatch(message);
    expect(error.hint).toMatch(hint);
  });
});

describe("a reply that cannot be used costs its call, once", () => {
  const event = (delta: object, finish: string | null = null) =>
    `data: ${JSON.stringify({ choices: [{ delta, finish_reason: finish }] })}\n\n`;
  const thought = "hm ".repeat(40);
  test.each<[string, string, RegExp]>([
    [
      "reasoning and nothing else",
      event({ reasoning_content: thought }) + event({}, "stop"),
      /the reply is empty; the model wrote 120 characters of reasoning/,
    ],
    [
      "reasoning in its other spelling, cut off",
      event({ reasoning: thought, content: null }) + event({}, "length"),
      /the reply is empty; the model wrote 120 characters of reasoning/,
    ],
    ["nothing", event({ content: "" }) + event({}, "stop"), /the reply is empty$/],
    ["null", event({ content: null }) + event({}, "stop"), /the reply is empty$/],
    ["no choices", `data: {"choices": []}\n\n`, /the reply holds no choices/],
    [
      "far more than asked",
      event({ content: "word ".repeat(2000) }),
      /the reply is far longer than the 64 tokens asked for/,
    ],
    [
      "tool calls of the protocol",
      event({}, "tool_calls"),
      /ended with finish_reason "tool_calls"/,
    ],
  ])("%s", async (_, text, message) => {
    let count = 0;
    const server = await serverWith(() => {
      count++;
      return body(`${text}data: [DONE]\n\n`);
    });
    const sampler = await remote(server.url, { retries: 3, dialect: "plain", maxPositions: 4096 });
    const error = await errorOf(sampler.sample(prompt, params));
    expect(error).toBeInstanceOf(ReplyFault);
    expect(error.message).toMatch(message);
    expect(error.message).toContain(`${server.url}/chat/completions: `);
    expect(count).toBe(1);
  });
});

describe("what may pass is tried again", () => {
  const passing: ServerFault[] = [
    { kind: "status", status: 500 },
    { kind: "status", status: 429, headers: { "retry-after": "0.05" } },
    cut,
    { kind: "cut", afterWrites: 2 },
    body(said),
    body("data: {\n\n"),
    { kind: "hang", headers: true },
  ];

  test("until it works, with the same request", async () => {
    const server = await serverWith((request) => passing[request] ?? null);
    const sampler = await remote(server.url, { retries: 20, timeoutMs: 3000 });
    const sample = await sampler.sample(prompt, params);
    expect(chat.tokenizer.decode(sample.tokens)).toBe("fine<|im_end|>");
    expect(sample).not.toHaveProperty("inexact");
    expect(new Set(server.requests.map((request) => JSON.stringify(request))).size).toBe(1);
  });

  test("as often as asked for", async () => {
    let count = 0;
    const server = await serverWith(() => {
      count++;
      return { kind: "status", status: 503 };
    });
    const sampler = await remote(server.url, { retries: 3 });
    await errorOf(sampler.sample(prompt, params));
    expect(count).toBe(4);
  });

  test("but no mistake of ours", async () => {
    let count = 0;
    const server = await serverWith(() => {
      count++;
      return { kind: "status", status: 400 };
    });
    const sampler = await remote(server.url, { retries: 3 });
    await errorOf(sampler.sample(prompt, params));
    expect(count).toBe(1);
  });

  test("no earlier than the server asks", () => {
    const wait = (value: string) => retryAfterMs(new Headers({ "retry-after": value }));
    expect(wait("7")).toBe(7000);
    expect(wait("soon")).toBe(0);
    const date = new Date(Date.now() + 60_000).toUTCString();
    expect(wait(date)).toBeGreaterThan(30_000);
    expect(wait(new Date(0).toUTCString())).toBe(0);
  });
});

describe("an abort", () => {
  test("rejects with its reason and frees the connection", async () => {
    const stuck = new StuckSampler({
      name: "stuck",
      ...samplingOnly,
      tokenExact: true,
      maxPositions: 4096,
    });
    const server = await serverWith(undefined, stuck);
    const sampler = await remote(server.url, { concurrency: 1 });
    const caller = new AbortController();
    const pending = errorThrown(sampler.sample(prompt, params, { signal: caller.signal }));
    await stuck.asked();
    const queued = new AbortController();
    const waiting = errorThrown(sampler.sample(prompt, params, { signal: queued.signal }));
    queued.abort(new Error("queued"));
    expect(await waiting).toEqual(new Error("queued"));
    caller.abort(new Error("enough"));
    expect(await pending).toEqual(new Error("enough"));
    await stuck.stopped();
  });

  test("ends a wait for the next try", async () => {
    const caller = new AbortController();
    const server = await serverWith(() => {
      setTimeout(() => caller.abort(new Error("enough")), 20);
      return { kind: "status", status: 429, headers: { "retry-after": "3600" } };
    });
    const sampler = await remote(server.url, { retries: 3 });
    const { signal } = caller;
    expect(await errorThrown(sampler.sample(prompt, params, { signal }))).toEqual(
      new Error("enough"),
    );
  });

  test("of the whole sampler cuts what is in flight", async () => {
    const server = await serverWith(() => ({ kind: "hang", headers: true }));
    const sampler = await openRemoteSampler({ baseUrl: server.url, model: "m", chat, retries: 0 });
    const pending = errorThrown(sampler.sample(prompt, params));
    while (server.load.now === 0) await new Promise((resolve) => setTimeout(resolve, 1));
    await sampler.close();
    await server.gone();
    expect(await pending).toBeInstanceOf(VigorlError);
  });
});

describe("opening", () => {
  test("says that the key is wrong", async () => {
    const server = await serverWith(undefined, undefined, "secret");
    const error = await errorOf(remote(server.url));
    expect(error).toMatchObject({ code: "usage" });
    expect(error.message).toMatch(/\/v1\/models: 401: wrong or missing API key/);
    const sampler = await remote(server.url, { apiKey: "secret" });
    expect(sampler.capabilities.name).toBe("vigorl:m");
  });

  test("says which models there are", async () => {
    const server = await serverWith();
    const error = await errorOf(remote(server.url, { model: "gpt" }));
    expect(error.message).toMatch(/the server has no model gpt/);
    expect(error.hint).toBe("it has m");
  });

  test("needs no name where there is one model", async () => {
    const server = await serverWith();
    const sampler = await openRemoteSampler({ baseUrl: server.url, chat, retries: 0 });
    open.push(sampler);
    expect(sampler.capabilities.name).toMatch(/:m$/);
  });

  test("says that nobody listens", async () => {
    const server = await serverWith();
    await server.close();
    open.length = 0;
    const error = await errorOf(remote(server.url));
    expect(error.message).toBe(`${server.url}/models: connection refused`);
    expect(error.hint).toMatch(/start the server/);
  });

  test("says that the URL is another one's", async () => {
    const server = await serverWith();
    const error = await errorOf(remote(server.url.replace("/v1", "/v2")));
    expect(error.message).toMatch(/404: there is no GET \/v2\/models/);
  });
});

async function errorThrown(work: Promise<unknown>): Promise<unknown> {
  return work.then(
    () => null,
    (error: unknown) => error,
  );
}
