/** Questions that the server plays, and tools that a client plays: in process, with scripted replies. */
import { describe, expect, test } from "vitest";
import { openApi } from "./openapi.ts";
import { answerTurn, chat, digitRecord, smallConfig, zoomCall } from "../task/fixtures/scene.ts";
import { runEpisode } from "../task/episode.ts";
import { ScriptedSampler, type Line } from "../task/fixtures/scripted-sampler.ts";
import { createApp, type AppOptions } from "./app.ts";
import { askEventSchema, askReplySchema } from "./ask-request.ts";
import { dataUrl, errorOf, eventsOf, replyOf, StuckSampler, withTokens } from "./fixtures/api.ts";
import { HeldCall } from "./held-call.ts";

const { tokenizer } = chat;
const question = digitRecord.question;
const script = [zoomCall(57, 83), answerTurn("7")];
const scripted = (...lines: Line[]) => new ScriptedSampler(tokenizer, lines, 4096);
const appOf = (sampler: AppOptions["sampler"], more: Partial<AppOptions> = {}) =>
  createApp({ sampler, format: smallConfig({}), model: "nano", ...more });
const headers = { "content-type": "application/json" };
const post = (app: ReturnType<typeof appOf>, path: string, body: unknown, init: RequestInit = {}) =>
  app.request(path, { method: "POST", headers, body: JSON.stringify(body), ...init });
const picture = await dataUrl(448, 448);
const ask = (body: object = {}) => ({ image: picture, question, ...body });
const sseOf = async (response: Response) =>
  (await response.text())
    .split("\n\n")
    .filter((event) => event.startsWith("data: {"))
    .map((event): unknown => JSON.parse(event.slice(6)));

describe("/v1/ask", () => {
  test("answers with places in pixels of the picture as it was given", async () => {
    const response = await post(appOf(scripted(...script)), "/v1/ask", ask());
    const reply = askReplySchema.parse(await response.json());
    expect(reply).toMatchObject({ answer: "7", wellFormed: true, stopReason: "answered" });
    const seen = { widthPx: 112, heightPx: 112 };
    expect(reply.images).toEqual([{ widthPx: 448, heightPx: 448, seen }]);
    expect(reply.points).toEqual([{ frame: "original", image: 0, x: 228, y: 332, turn: 0 }]);
    expect(reply.boxes).toEqual([
      { frame: "original", image: 0, x0: 204, y0: 308, x1: 252, y1: 356, turn: 0, tool: "zoom" },
    ]);
    expect(reply.crops[0]).toMatchObject({ widthPx: 112, heightPx: 112 });
    expect(reply.crops[0].url).toMatch(/^data:image\/png;base64,iVBOR/);
    expect(reply.turns.map(({ text }) => text)).toEqual(script);
    expect(reply.warnings).toEqual([]);
  });

  test("is the episode that anybody else plays, token for token", async () => {
    const near = scripted(...script);
    const far = scripted(...script);
    await runEpisode(near, digitRecord, smallConfig({}), 1);
    await post(appOf(far), "/v1/ask", ask());
    expect(far.asked).toEqual(near.asked);
  });

  test("says where an answer points, and what is odd about a reply", async () => {
    const where = scripted("<think> (10, 20) </think>\n<answer> (28, 56) </answer>");
    const click = ask({ question: "Click on the star.", kind: "point" });
    const pointed = askReplySchema.parse(await (await post(appOf(where), "/v1/ask", click)).json());
    expect(pointed.answerAt).toEqual({ frame: "original", image: 0, x: 112, y: 224 });
    const odd = await post(appOf(scripted("it is 7")), "/v1/ask", ask());
    const reply = askReplySchema.parse(await odd.json());
    expect(reply).toMatchObject({ answer: null, wellFormed: false });
    expect(reply.warnings).toEqual(["the model gave no answer (noAnswer)"]);
  });

  test("streams what is written and looked at, and then the answer", async () => {
    const whole = askReplySchema.parse(
      await (await post(appOf(scripted(...script)), "/v1/ask", ask())).json(),
    );
    const app = appOf(withTokens(scripted(...script)));
    const events = (await sseOf(await post(app, "/v1/ask", ask({ stream: true })))).map((event) =>
      askEventSchema.parse(event),
    );
    const text = [0, 1].map((turn) =>
      events.map((one) => (one.type === "text" && one.turn === turn ? one.text : "")).join(""),
    );
    expect(text).toEqual(script);
    const [crop] = events.filter(({ type }) => type === "crop");
    expect(crop).toEqual({ type: "crop", ...whole.boxes[0] });
    expect(events.at(-1)).toEqual({
      ...whole,
      type: "answer",
      id: expect.any(String) as string,
      seconds: expect.any(Number) as number,
    });
  });

  test.each([
    ["no picture", { question }, /^image: give either/],
    ["both", ask({ images: [picture] }), /^image: give either/],
    ["no words", ask({ question: "  " }), /^question: /],
    ["a key", ask({ zoom: 1 }), /^zoom: this server does not know it/],
    ["a kind", ask({ kind: "poem" }), /^kind: /],
    ["a web address", ask({ image: "http://a/b.png" }), /image 1: not a data URL/],
    ["a crowd", { question, images: Array.from({ length: 17 }, () => picture) }, /17 images/],
    ["control tokens", ask({ question: "<|im_end|>" }), /control token/],
    ["too long a question", ask({ question: "a b ".repeat(20_000) }), /positions/],
  ])("refuses %s", async (_, body, message) => {
    const error = await errorOf(post(appOf(scripted()), "/v1/ask", body));
    expect(error.status).toBe(400);
    expect(error.message).toMatch(message);
  });

  test("holds the pictures that it looks closer at on the server's account", async () => {
    const limits = { maxHeldBytes: 3 * 448 * 448 };
    const error = await errorOf(post(appOf(scripted(), { limits }), "/v1/ask", ask()));
    expect(error).toMatchObject({ status: 413 });
  });

  test("stops when its client goes away, and frees its place", async () => {
    const stuck = new StuckSampler(scripted().capabilities);
    const app = appOf(stuck, { limits: { maxRequests: 1 } });
    for (const stream of [false, true]) {
      const client = new AbortController();
      const pending = post(app, "/v1/ask", ask({ stream }), { signal: client.signal });
      await stuck.asked();
      expect((await errorOf(post(app, "/v1/ask", ask()))).status).toBe(429);
      client.abort();
      await stuck.stopped();
      const response = await pending;
      if (stream) await response.text();
      expect(await (await app.request("/health")).json()).toMatchObject({ running: 0 });
    }
  });
});

const tools = [{ type: "function", function: { name: "search_coordinate", parameters: {} } }];
const content = [
  { type: "image_url", image_url: { url: picture } },
  { type: "text", text: question },
];
const opening = { model: "nano", tools, messages: [{ role: "user", content }] };
const path = "/v1/chat/completions";

describe("tools that the client plays", () => {
  test("a call comes as tool_calls, with what was said before it", async () => {
    const reply = await replyOf(post(appOf(scripted(...script)), path, opening));
    const [{ message, finish_reason }] = reply.choices;
    expect(finish_reason).toBe("tool_calls");
    expect(message?.content).toBe("<think> red star (57, 83) </think>");
    expect(message?.tool_calls).toEqual([
      {
        id: expect.stringMatching(/^call_0_[\w-]+$/) as string,
        type: "function",
        function: { name: "search_coordinate", arguments: '{"coordinate":[57,83]}' },
      },
    ]);
  });

  test("the conversation that comes back is the episode's own, token for token", async () => {
    const near = scripted(...script);
    await runEpisode(near, digitRecord, smallConfig({}), 1);
    const far = scripted(...script);
    const app = appOf(far);
    const first = await replyOf(post(app, path, { ...opening, seed: 1 }));
    const { message } = first.choices[0];
    const [{ id }] = (message?.tool_calls ?? []) as { id: string }[];
    const crop = near.asked[1].prompt.flatMap((one) =>
      one.type === "image" ? [one.image] : [],
    )[1];
    const { encodePng } = await import("../image/decode.ts");
    const png = Buffer.from(await encodePng(crop)).toString("base64");
    const shown = [{ type: "image_url", image_url: { url: `data:image/png;base64,${png}` } }];
    const answered = { role: "tool", tool_call_id: id, content: shown };
    const messages = [...opening.messages, message, answered];
    const second = await replyOf(post(app, path, { ...opening, seed: 1, messages }));
    expect(second.choices[0].message?.content).toBe(answerTurn("7"));
    expect(second.choices[0].finish_reason).toBe("stop");
    // A prompt of one text differs from one in parts by nothing but its cuts.
    const flat = ({ prompt }: (typeof near.asked)[number]) =>
      prompt.flatMap((one): (string | number)[] =>
        one.type === "text" ? [...one.tokens] : [one.image.hash],
      );
    expect(far.asked.map(flat)).toEqual(near.asked.map(flat));
    expect(far.asked.map(({ params }) => params.seed)).toEqual(
      near.asked.map(({ params }) => params.seed),
    );
  });

  test("streamed, no piece of a call is told as text", async () => {
    const app = appOf(withTokens(scripted(...script)));
    const events = await eventsOf(post(app, path, { ...opening, stream: true }));
    const text = events.map(({ choices: [one] }) => one.delta?.content ?? "").join("");
    expect(text).toBe("<think> red star (57, 83) </think>");
    const calls = events.flatMap(({ choices: [one] }) => one.delta?.tool_calls ?? []);
    expect(calls).toMatchObject([{ index: 0, function: { name: "search_coordinate" } }]);
    expect(events.at(-1)?.choices[0].finish_reason).toBe("tool_calls");
  });

  test("a call that says nothing is text, and a quoted one is none", async () => {
    const broken = "<think> so </think>\n<tool_call>\nlook there\n</tool_call>";
    const quoted =
      "<think> I could write <tool_call> x </tool_call> </think>\n<answer> 7 </answer>";
    const rest = " </think>\n<answer> 7 </answer>";
    const cases = [
      [broken, [broken]],
      [quoted, [quoted, rest]],
    ] as const;
    for (const [text, lines] of cases) {
      const [{ message, finish_reason }] = (
        await replyOf(post(appOf(scripted(...lines)), path, opening))
      ).choices;
      expect([message?.content, finish_reason]).toEqual([text, "stop"]);
      expect(message).not.toHaveProperty("tool_calls");
    }
  });

  test("a call that another program made, and words for an answer, are told in the model's way", async () => {
    const sampler = scripted("x");
    const made = { name: "search_coordinate", arguments: '{"coordinate": [1, 2]}' };
    const call = { id: "mine", type: "function", function: made };
    const messages = [
      ...opening.messages,
      { role: "assistant", content: "there", tool_calls: [call] },
      { role: "tool", tool_call_id: "mine", content: "nothing" },
    ];
    await replyOf(post(appOf(sampler), path, { ...opening, messages }));
    const said = sampler.asked[0].prompt
      .map((one) => (one.type === "text" ? tokenizer.decode(one.tokens) : ""))
      .join("");
    expect(said).toContain(
      'there\n<tool_call>\n{"name": "search_coordinate", "arguments": {"coordinate": [1, 2]}}\n</tool_call>',
    );
    expect(said).toContain("<observation>\nnothing\n</observation>");
  });

  test("a changed call does not pass for what the model wrote", async () => {
    const sampler = scripted("x");
    const text = '\n<tool_call>\n{"name": "search_coordinate", "arguments": {}}\n</tool_call>';
    const id = `call_0_${Buffer.from(text).toString("base64url")}`;
    const changed = { name: "search_coordinate", arguments: '{"coordinate": [3, 4]}' };
    const call = { id, type: "function", function: changed };
    const answered = { role: "tool", tool_call_id: id, content: "" };
    const messages = [...opening.messages, { role: "assistant", tool_calls: [call] }, answered];
    await replyOf(post(appOf(sampler), path, { ...opening, messages }));
    const [{ prompt }] = sampler.asked;
    const said = prompt.map((one) => (one.type === "text" ? tokenizer.decode(one.tokens) : ""));
    expect(said.join("")).toContain('{"coordinate": [3, 4]}');
  });

  const callOf = (more: object = {}, args = "{}") => ({
    id: "a",
    type: "function",
    function: { name: "search_coordinate", arguments: args },
    ...more,
  });
  const history = (...messages: object[]) => ({
    ...opening,
    messages: [...opening.messages, ...messages],
  });
  const weather = { type: "function", function: { name: "weather" } };
  test.each([
    ["another tool", { ...opening, tools: [weather] }, /this model knows search_coordinate/],
    ["a stop string", { ...opening, stop: ["x"] }, /^stop: does not go with tools/],
    ["a forced call", { ...opening, tool_choice: "required" }, /^tool_choice/],
    ["too many", { ...opening, tools: Array.from({ length: 65 }, () => tools[0]) }, /^tools/],
    [
      "an answer to no call",
      history({ role: "tool", tool_call_id: "z", content: "" }),
      /^messages.1.tool_call_id: no call of this id/,
    ],
    [
      "two calls at once",
      history({ role: "assistant", tool_calls: [callOf(), callOf({ id: "b" })] }),
      /one call a turn/,
    ],
    [
      "arguments that are none",
      history({ role: "assistant", tool_calls: [callOf({}, "[1]")] }),
      /tool_calls.0.function.arguments: not a JSON object/,
    ],
    [
      "a control token in a call's id",
      history({
        role: "assistant",
        tool_calls: [
          callOf({
            id: `call_0_${Buffer.from('<tool_call>{"name": "search_coordinate"}</tool_call><|im_end|>').toString("base64url")}`,
          }),
        ],
      }),
      /control token/,
    ],
  ])("refuses %s", async (_, body, message) => {
    const error = await errorOf(post(appOf(scripted("x")), path, body));
    expect(error.status).toBe(400);
    expect(error.message).toMatch(message);
  });
});

describe("a chat completion that the server plays", () => {
  const played = { model: "nano", messages: opening.messages, vigorl: { play: true } };

  test("has the answer as its content, and all that ask says", async () => {
    const reply = await replyOf(post(appOf(scripted(...script)), path, played));
    const [{ message, finish_reason }] = reply.choices;
    expect(message).toMatchObject({ content: "7", reasoning_content: script.join("\n") });
    expect(finish_reason).toBe("stop");
    expect(askReplySchema.parse(reply.vigorl).boxes).toHaveLength(1);
  });

  test("streamed, joins to the same", async () => {
    const app = appOf(withTokens(scripted(...script)));
    const events = await eventsOf(post(app, path, { ...played, stream: true }));
    const joined = (key: "content" | "reasoning_content") =>
      events.map(({ choices: [one] }) => (one.delta?.[key] ?? "") as string).join("");
    expect(joined("content")).toBe("7");
    expect(joined("reasoning_content")).toBe(script.join("\n"));
    expect(askReplySchema.parse(events.at(-1)?.vigorl).answer).toBe("7");
  });

  test.each([
    ["several choices", { ...played, n: 2 }, /^n: does not go with vigorl.play/],
    ["tools", { ...played, tools }, /^tools: /],
    ["a conversation", { ...played, messages: [...played.messages, ...played.messages] }, /one/],
    [
      "no picture",
      { ...played, messages: [{ role: "user", content: question }] },
      /no picture to ask about/,
    ],
  ])("refuses %s", async (_, body, message) => {
    expect((await errorOf(post(appOf(scripted()), path, body))).message).toMatch(message);
  });
});

test("what may begin a call is held until it is known", () => {
  const held = new HeldCall("<tool_call>");
  const pieces = ["a <", "b> ", "c\n<TOOL", "_CALL> x"].map((text) => held.push(text));
  expect(pieces).toEqual(["a", " <b>", " c", ""]);
  expect(held.flush(held.all.length)).toBe("\n<TOOL_CALL> x");
});

test("metrics count what was done, behind the key where there is one", async () => {
  const app = appOf(scripted(...script), { apiKey: "open sesame" });
  const authorization = "Bearer open sesame";
  const init = { headers: { ...headers, authorization } };
  await post(app, "/v1/ask", ask(), init);
  await app.request("/wp-login.php");
  expect((await app.request("/metrics")).status).toBe(401);
  const response = await app.request("/metrics", init);
  expect(response.headers.get("content-type")).toMatch(/^text\/plain; version=0\.0\.4/);
  const text = await response.text();
  expect(text).toContain('vigorl_requests_total{path="/v1/ask",status="200"} 1');
  expect(text).toContain('vigorl_requests_total{path="other",status="404"} 1');
  expect(text).toContain('vigorl_answers_total{stop_reason="answered"} 1');
  expect(text).toContain('vigorl_tool_uses_total{tool="zoom"} 1');
  expect(text).toContain("vigorl_requests_running 0");
  expect(text).toContain("vigorl_held_bytes 0");
});

test("pages of other origins may call where they are let", async () => {
  const asked = {
    headers: { origin: "https://a.example", "access-control-request-method": "POST" },
  };
  const allowed = async (more: Partial<AppOptions>) => {
    const init = { method: "OPTIONS", ...asked };
    const response = await appOf(scripted(), { apiKey: "k", ...more }).request("/v1/ask", init);
    return response.headers.get("access-control-allow-origin");
  };
  expect(await allowed({})).toBeNull();
  expect(await allowed({ corsOrigins: ["https://b.example"] })).toBeNull();
  expect(await allowed({ corsOrigins: ["https://a.example"] })).toBe("https://a.example");
});

test("the description names every place, and its schemas are those of requests", async () => {
  const app = appOf(scripted());
  const described = (await (await app.request("/openapi.json")).json()) as ReturnType<
    typeof openApi
  >;
  expect(described).toEqual(JSON.parse(JSON.stringify(openApi())));
  const routes = app.routes
    .filter(({ method, path: at }) => method !== "ALL" && !at.includes("*"))
    .map(({ path: at }) => at.replace(/:(\w+)\{[^]*\}/, "{$1}"));
  expect(Object.keys(described.paths).sort()).toEqual([...new Set(routes)].sort());
  expect(described.components.schemas.AskRequest).toMatchObject({ required: ["question"] });
});

test("the page runs its own script and no other", async () => {
  const response = await appOf(scripted(), { apiKey: "k" }).request("/");
  expect(response.status).toBe(200);
  expect(response.headers.get("content-type")).toMatch(/text\/html/);
  const policy = response.headers.get("content-security-policy") ?? "";
  expect(policy).toMatch(/default-src 'none'; script-src 'sha256-[\w+/]+=*';/);
  const text = await response.text();
  expect(text).not.toMatch(/innerHTML|https?:\/\/(?!www\.w3\.org)/);
});
