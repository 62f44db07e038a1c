import { setImmediate as turnOfLoop } from "node:timers/promises";
import { expect, test } from "vitest";
import { Turns } from "./turns.ts";

test("all samples of one request wait on its signal without a warning of leaks", async () => {
  const warnings: Error[] = [];
  const note = (warning: Error) => warnings.push(warning);
  process.on("warning", note);
  const turns = new Turns(1);
  const { signal } = new AbortController();
  const request = {};
  const done = await Promise.all(
    Array.from({ length: 64 }, (_, i) => turns.take(request, signal, () => Promise.resolve(i))),
  );
  await turnOfLoop();
  process.off("warning", note);
  expect(done).toEqual(Array.from({ length: 64 }, (_, i) => i));
  expect(warnings).toEqual([]);
});

test("the request with the fewest samples at work is next", async () => {
  const turns = new Turns(2);
  const { signal } = new AbortController();
  const order: string[] = [];
  const many = {};
  const work = (name: string) => async () => {
    await turnOfLoop();
    order.push(name);
  };
  const all = Array.from({ length: 4 }, (_, i) => turns.take(many, signal, work(`many ${i}`)));
  all.push(turns.take({}, signal, work("one")));
  await Promise.all(all);
  expect(order.indexOf("one")).toBeLessThan(3);
});
