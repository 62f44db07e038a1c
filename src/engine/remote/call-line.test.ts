import { expect, test } from "vitest";
import { VigorlError } from "../../core/errors.ts";
import { CallLine } from "./call-line.ts";
import { connectionFault } from "./faults.ts";
import type { CallLimits } from "./limits.ts";
import type { Alive } from "./watch.ts";

const limits: CallLimits = { concurrency: 2, timeoutMs: 60_000, retries: 3, retryDelayMs: 0 };
const named = (thrown: unknown, url: string) =>
  thrown instanceof VigorlError ? { error: thrown, retryAfterMs: 0 } : connectionFault(thrown, url);
const address = { url: "http://server/v1", model: "m" };

/** Answers each request with what `answer` says; "hang" never ends and does not listen. */
class Server {
  requests = 0;
  inFlight = 0;
  mostInFlight = 0;
  private readonly answer: (request: number) => Error | string;

  constructor(answer: (request: number) => Error | string) {
    this.answer = answer;
  }

  ask = async (_: Alive): Promise<string> => {
    const answer = this.answer(this.requests++);
    this.mostInFlight = Math.max(this.mostInFlight, ++this.inFlight);
    try {
      await new Promise((resolve) => setImmediate(resolve));
      if (answer === "hang") await new Promise(() => undefined);
      if (answer instanceof Error) throw answer;
      return answer;
    } finally {
      this.inFlight--;
    }
  };
}

const asks = (line: CallLine, server: Server, count: number, signal?: AbortSignal) =>
  Array.from({ length: count }, () => line.run(address, server.ask, signal));

test("at most so many requests are in flight, and all are answered", async () => {
  const server = new Server(() => "fine");
  expect(await Promise.all(asks(new CallLine(limits, named), server, 20))).toHaveLength(20);
  expect(server.mostInFlight).toBe(2);
});

test("what may succeed yet is tried again", async () => {
  const cut = new VigorlError("io", "cut");
  const server = new Server((request) => (request < 3 ? cut : "fine"));
  expect(await Promise.all(asks(new CallLine(limits, named), server, 1))).toEqual(["fine"]);
  expect(server.requests).toBe(4);
});

test("the last failure is thrown; a mistake is not tried again", async () => {
  const cut = new VigorlError("io", "cut");
  const stubborn = new Server(() => cut);
  await expect(asks(new CallLine(limits, named), stubborn, 1)[0]).rejects.toBe(cut);
  expect(stubborn.requests).toBe(4);
  const refused = new VigorlError("usage", "401");
  const strict = new Server(() => refused);
  await expect(asks(new CallLine(limits, named), strict, 1)[0]).rejects.toBe(refused);
  expect(strict.requests).toBe(1);
});

test("cut connections of the system are worth another try, bugs are not", async () => {
  const reset = Object.assign(new Error("reset"), { code: "ECONNRESET" });
  const flaky = new Server((request) =>
    request === 0 ? new TypeError("fetch failed", { cause: reset }) : "fine",
  );
  expect(await asks(new CallLine(limits, named), flaky, 1)[0]).toBe("fine");
  const wrong = new Server(() => new TypeError("x is not a function"));
  await expect(asks(new CallLine(limits, named), wrong, 1)[0]).rejects.toThrow(
    "x is not a function",
  );
  expect(wrong.requests).toBe(1);
});

test("a request that never ends gives its place back, even where nobody listens", async () => {
  const server = new Server((request) => (request < 2 ? "hang" : "fine"));
  const line = new CallLine({ ...limits, timeoutMs: 20 }, named);
  expect(await Promise.all(asks(line, server, 6))).toEqual(Array(6).fill("fine"));
  expect(server.requests).toBe(8);
});

test("waiting in line counts for nothing: only a request's own silence does", async () => {
  const line = new CallLine({ ...limits, concurrency: 1, timeoutMs: 200, retries: 0 }, named);
  const slow = async ({ onEvent }: Alive): Promise<string> => {
    for (let i = 0; i < 4; i++) {
      await new Promise((resolve) => setTimeout(resolve, 30));
      onEvent();
    }
    return "fine";
  };
  // Together they take far longer than one may be silent.
  const all = Array.from({ length: 5 }, () => line.run(address, slow, undefined));
  expect(await Promise.all(all)).toEqual(Array(5).fill("fine"));
});

test("an abort frees the place, empties the queue and throws its own reason", async () => {
  const server = new Server((request) => (request < 2 ? "hang" : "fine"));
  const line = new CallLine(limits, named);
  const controller = new AbortController();
  const { signal } = controller;
  const waiting = asks(line, server, 5, signal);
  await new Promise((resolve) => setTimeout(resolve, 5));
  controller.abort(new VigorlError("interrupted", "by hand"));
  for (const one of waiting) await expect(one).rejects.toThrow("by hand");
  expect(server.requests).toBe(2);
  expect(await asks(line, server, 1)[0]).toBe("fine");
  expect(() => asks(line, server, 1, signal)).toThrow("by hand");
});
