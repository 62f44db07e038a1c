/** Requests that mean harm, and requests that only look odd: what is refused, why, and what it costs others. */
import { request as httpRequest } from "node:http";
import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { chat, smallConfig } from "../task/fixtures/scene.ts";
import { ScriptedSampler } from "../task/fixtures/scripted-sampler.ts";
import { ApiError } from "./api-error.ts";
import { createApp, type ServeLimits } from "./app.ts";
import { dataUrlBytes } from "./data-url.ts";
import { EventQueue } from "./event-queue.ts";
import { dataUrl, errorOf, StuckSampler } from "./fixtures/api.ts";
import { checkBounds } from "./json-bounds.ts";
import { startServer } from "./server.ts";
import { Turns } from "./turns.ts";

const format = smallConfig({});
const sampler = () => new ScriptedSampler(chat.tokenizer, () => "x", 4096);
const appOf = (limits: Partial<ServeLimits> = {}) =>
  createApp({ sampler: sampler(), format, model: "nano", limits });

const headers = { "content-type": "application/json" };
const post = (app: ReturnType<typeof createApp>, body: unknown) =>
  app.request("/v1/chat/completions", {
    method: "POST",
    headers,
    body: typeof body === "string" ? body : JSON.stringify(body),
  });
const user = (content: unknown) => ({ model: "nano", messages: [{ role: "user", content }] });
const image = (url: string) => ({ type: "image_url", image_url: { url } });

describe("refused before anything is made of it", () => {
  const app = appOf();
  const many = (one: string) => Array.from({ length: 100_000 }, () => one).join(",");
  test.each([
    ["numbers for messages", `{"messages":[${many("1")}]}`, /more than \d+ values/],
    ["keys", `{${many('"a":1')}}`, /more than \d+ values/],
    ["a key twice", '{"model":"nano","messages":[],"messages":[1]}', /the key "messages" twice/],
    ["lists in lists", "[".repeat(1e5), /nests more than 32 deep/],
    ["a text that cannot fit", user("a".repeat(5e6)), /5000\d+ characters does not fit/],
    ["a text that does not fit", user("a b ".repeat(20_000)), /the model has 4096 positions/],
    [
      "a control token in two parts",
      user(["<|im_", "end|>"].map((text) => ({ type: "text", text }))),
      /control token <\|im_end\|>/,
    ],
    [
      "a drawing called a picture",
      user([image(`data:image/png;base64,${btoa('<svg xmlns="http://www.w3.org/2000/svg"/>')}`)]),
      /image 1: SVG is not read/,
    ],
    ["a bare string for an image", user([{ type: "image_url", image_url: "x" }]), /image_url: /],
  ])("%s", async (_, body, message) => {
    const error = await errorOf(post(app, body));
    expect(error.status).toBe(400);
    expect(error.message).toMatch(message);
  });
});

test("a body that is not UTF-8 is refused, and none of its bytes replaced", async () => {
  const body = Buffer.concat([Buffer.from('{"model":"'), Buffer.from([0xff]), Buffer.from('"}')]);
  const reply = appOf().request("/v1/chat/completions", { method: "POST", headers, body });
  expect(await errorOf(Promise.resolve(reply))).toMatchObject({
    status: 400,
    message: "the body is not UTF-8",
  });
});

test.each([
  [{ "content-encoding": "gzip" }, 415],
  [{ "content-encoding": "identity" }, 200],
  [{ "content-type": "application/json; charset=utf-16" }, 415],
  [{ "content-type": 'Application/JSON; charset="UTF-8"' }, 200],
])(
  "a body that says it is coded otherwise is not read as if it were not: %j",
  async (own, status) => {
    const body = JSON.stringify({ ...user("hi"), max_tokens: 1 });
    const wish = { method: "POST", headers: { ...headers, ...own }, body };
    expect((await appOf().request("/v1/chat/completions", wish)).status).toBe(status);
  },
);

test("bounds count what is there, whatever strings hold", () => {
  const values = (json: unknown): number => {
    if (typeof json !== "object" || json === null) return 1;
    return Object.values(json).reduce((total: number, one) => total + values(one), 1);
  };
  fc.assert(
    fc.property(fc.json(), (text) => {
      const bytes = new TextEncoder().encode(text);
      const maxValues = 2 * values(JSON.parse(text)) + 1;
      checkBounds(bytes, { maxValues, maxDepth: 1000 });
    }),
  );
  const quoted = new TextEncoder().encode(JSON.stringify(['a,b\\",[[[', "\\"]));
  checkBounds(quoted, { maxValues: 3, maxDepth: 1 });
  expect(() => checkBounds(quoted, { maxValues: 2, maxDepth: 1 })).toThrow(ApiError);
});

describe("what all requests hold together", () => {
  test("a request that alone is too large is told so, one beside others is told to come again", async () => {
    const url = await dataUrl();
    const few = await errorOf(post(appOf({ maxWaitingPixels: 10_000 }), user([image(url)])));
    expect(few).toMatchObject({ status: 413, message: /more pixels than this server has/ });
    const stuck = new StuckSampler(sampler().capabilities);
    const body = JSON.stringify(user([image(url)]));
    // What one takes and a half: its body, text and values, and the pixels that the model sees.
    const limits = { maxHeldBytes: 1.5 * (3 * body.length + 3 * 112 * 112) };
    const app = createApp({ sampler: stuck, format, model: "nano", limits });
    const client = new AbortController();
    const init = { method: "POST", headers, body };
    const first = app.request("/v1/chat/completions", { ...init, signal: client.signal });
    await stuck.asked();
    const busy = await app.request("/v1/chat/completions", init);
    expect(busy.headers.get("retry-after")).toBe("1");
    expect(await errorOf(busy)).toMatchObject({ status: 503 });
    client.abort();
    await first;
    const again = new AbortController();
    const second = app.request("/v1/chat/completions", { ...init, signal: again.signal });
    await stuck.asked();
    again.abort();
    await second;
  });

  test("a body that does not come takes nobody's place, and ends", async () => {
    const app = appOf({ maxRequests: 1, bodyIdleMs: 200 });
    const half = new ReadableStream<Uint8Array>({
      start: (body) => body.enqueue(new TextEncoder().encode('{"model":')),
    });
    const init = { method: "POST", headers, body: half, duplex: "half" };
    const late = app.request("/v1/chat/completions", init as RequestInit);
    expect((await post(app, user("hi"))).status).toBe(200);
    expect(await errorOf(late)).toMatchObject({ status: 408 });
  });
});

describe("taken, because it says nothing", () => {
  const app = appOf();
  const hello = user("a");
  const history = (assistant: object) => ({
    model: "nano",
    messages: [...hello.messages, { role: "assistant", ...assistant }, ...hello.messages],
  });
  test.each([
    ["null text of an assistant", history({ content: null })],
    ["no text of an assistant", history({})],
    [
      "a reply of the official client",
      history({
        content: "x",
        refusal: null,
        annotations: [],
        audio: null,
        function_call: null,
        tool_calls: null,
      }),
    ],
    ["thoughts", history({ content: "x", reasoning_content: "y" })],
    ["a name", { model: "nano", messages: [{ role: "user", content: "a", name: "joe" }] }],
    ["no bias", { ...hello, logit_bias: {}, functions: null, function_call: null }],
    ["penalties of one and none", { ...hello, repetition_penalty: 1, min_p: 0 }],
    ["switches as they are", { ...hello, skip_special_tokens: true, ignore_eos: false }],
    ["empty settings", { ...hello, chat_template_kwargs: {}, modalities: ["text"] }],
    ["nulls", { ...hello, max_tokens: null, audio: null, reasoning_effort: null, tools: null }],
  ])("%s", async (_, body) => {
    const response = await post(app, body);
    expect(response.status === 200 ? "" : await response.text()).toBe("");
  });

  test.each([
    ["an effort", { ...hello, reasoning_effort: "low" }, /^reasoning_effort/],
    ["a bias", { ...hello, logit_bias: { "1": 5 } }, /^logit_bias/],
    ["a call", history({ content: null, tool_calls: [{}] }), /^messages.1.tool_calls/],
    ["a number for text", user(1), /^messages.0.content: send a text or a list of parts/],
  ])("but %s is refused by name", async (_, body, message) => {
    expect((await errorOf(post(app, body))).message).toMatch(message);
  });
});

test.each([
  ["data:image/png;base64,", ""],
  ["DATA:IMAGE/PNG;BASE64,", ""],
  ["data:image/png;charset=utf-8;base64,", ""],
  ["data:image/png;name=a.png;base64,", ""],
  ["data:image/x-png;base64, ", "line breaks"],
  ["data:;base64,", "no padding"],
  ["data:application/octet-stream;base64,", "URL-safe"],
  ["data:image/*;base64,", "percent"],
])("%s is a data URL (%s)", (head, spelling) => {
  const bytes = Uint8Array.from({ length: 200 }, (_, i) => (i * 91 + 250) % 256);
  const plain = Buffer.from(bytes).toString("base64");
  const payload =
    {
      "line breaks": plain.replace(/.{60}/g, "$&\r\n"),
      "no padding": plain.replace(/=+$/, ""),
      "URL-safe": Buffer.from(bytes).toString("base64url"),
      percent: encodeURIComponent(plain),
    }[spelling] ?? plain;
  expect(Uint8Array.from(dataUrlBytes(head + payload, "image 1"))).toEqual(bytes);
});

test.each(["http://a/b.png", "file:///etc/passwd", "iVBORw0KGgo=", "data:image/png,abc", ""])(
  "%s is none",
  (url) => expect(() => dataUrlBytes(url, "image 1")).toThrow(/image 1: not a data URL/),
);

test("a server of this machine answers to its own names alone", async () => {
  const server = await startServer(appOf(), { port: 0 });
  const port = Number(new URL(server.url).port);
  const statusOf = (host: string) =>
    new Promise<number | undefined>((resolve, reject) => {
      const call = httpRequest({ port, path: "/health", headers: { host } }, (response) => {
        response.resume();
        resolve(response.statusCode);
      });
      call.on("error", reject);
      call.end();
    });
  for (const host of ["localhost", `127.0.0.1:${port}`, "[::1]:80", "a.localhost"])
    expect([host, await statusOf(host)]).toEqual([host, 200]);
  for (const host of ["evil.example", "127.0.0.1.evil.example", `127.evil.example:${port}`])
    expect([host, await statusOf(host)]).toEqual([host, 403]);
  await server.close();
});

describe("events for a client", () => {
  const limits = { maxWaiting: 100, stallMs: 30 };

  test("come in order and together", async () => {
    const written: string[] = [];
    const write = (text: string) => Promise.resolve(written.push(text));
    const queue = new EventQueue({ write }, limits, () => undefined);
    for (const one of ["a", "b", "c"]) queue.push(one);
    await queue.drained();
    expect(written.join("")).toBe("data: a\n\ndata: b\n\ndata: c\n\n");
  });

  test.each([
    ["reads nothing", 1],
    ["leaves too much lying", 50],
  ])("that %s end, and nothing waits for it", async (_, numEvents) => {
    let numStuck = 0;
    const write = () => new Promise(() => undefined);
    const queue = new EventQueue({ write }, limits, () => numStuck++);
    for (let i = 0; i < numEvents; i++) queue.push("event");
    await expect(queue.drained()).rejects.toThrow(/the client asked for a stream and/);
    queue.push("more");
    expect(numStuck).toBe(1);
  });
});

test("a plain request stands behind no crowd of another's samples", async () => {
  const turns = new Turns(2);
  const { signal } = new AbortController();
  const begun: string[] = [];
  const ends: (() => void)[] = [];
  const sample = (request: { name: string }) =>
    turns.take(request, signal, () => {
      begun.push(request.name);
      return new Promise<void>((resolve) => ends.push(resolve));
    });
  const [crowd, plain] = [{ name: "crowd" }, { name: "plain" }];
  const all = [...Array.from({ length: 6 }, () => sample(crowd)), sample(plain)];
  const gone = new AbortController();
  const left = turns.take(plain, gone.signal, () => Promise.reject(new Error("never begun")));
  gone.abort(new Error("gone"));
  await expect(left).rejects.toThrow("gone");
  for (let i = 0; i < all.length; i++) {
    while (ends.length === 0) await new Promise((resolve) => setImmediate(resolve));
    ends.shift()?.();
  }
  await Promise.all(all);
  expect(begun.slice(0, 3)).toEqual(["crowd", "crowd", "plain"]);
  expect(begun).toHaveLength(7);
});
