import fc from "fast-check";
import { setTimeout as sleep } from "node:timers/promises";
import { expect, test } from "vitest";
import { forEachBounded, mapBounded } from "./bounded.ts";

test("results come in the order of the items, and never more run than may", async () => {
  const cases = fc.asyncProperty(
    fc.array(fc.nat(3), { maxLength: 20 }),
    fc.integer({ min: 1, max: 8 }),
    async (waits, atOnce) => {
      let running = 0;
      let most = 0;
      const out = await mapBounded(waits, atOnce, undefined, async (wait, _, index) => {
        most = Math.max(most, ++running);
        for (let i = 0; i < wait; i++) await Promise.resolve();
        running--;
        return index * 10 + wait;
      });
      expect(out).toEqual(waits.map((wait, i) => i * 10 + wait));
      expect(most).toBeLessThanOrEqual(atOnce);
    },
  );
  await fc.assert(cases, { numRuns: 50 });
});

test("the first failure stops the rest, is thrown once, and only when nothing runs any more", async () => {
  let begun = 0;
  let running = 0;
  const failing = forEachBounded(Array(100).keys(), 4, undefined, async (i, halt) => {
    begun++;
    running++;
    try {
      if (i === 5) throw new Error("five");
      await sleep(i < 5 ? 5 : 10_000, undefined, { signal: halt });
    } finally {
      await sleep(2);
      running--;
    }
  });
  await expect(failing).rejects.toThrow("five");
  expect(running).toBe(0);
  expect(begun).toBeLessThan(12);
});

test("a failure before anybody waits for it is no unhandled rejection", async () => {
  const failing = mapBounded([1, 2, 3], 2, undefined, () => Promise.reject(new Error("at once")));
  await expect(failing).rejects.toThrow("at once");
});

test("what the items throw is thrown, and an abort is thrown as it is", async () => {
  function* broken() {
    yield 1;
    throw new Error("line 2");
  }
  await expect(forEachBounded(broken(), 2, undefined, () => sleep(1))).rejects.toThrow("line 2");
  const controller = new AbortController();
  const reason = new Error("stop");
  const work = forEachBounded(Array(10).keys(), 2, controller.signal, async (i, halt) => {
    if (i === 3) controller.abort(reason);
    await sleep(1);
    halt.throwIfAborted();
  });
  await expect(work).rejects.toBe(reason);
  await expect(forEachBounded([1], 1, controller.signal, () => sleep(1))).rejects.toBe(reason);
});

test("a bound far above the number of items costs nothing", async () => {
  expect(await mapBounded([1, 2], 1e9, undefined, (n) => Promise.resolve(n))).toEqual([1, 2]);
});
