import fc from "fast-check";
import { expect, test } from "vitest";
import { PrefixCache, type Slot } from "./prefix-cache.ts";
import { Prompt, type Entry } from "./sequence.ts";

const promptOf = (...tokens: number[]): Prompt => new Prompt([{ type: "text", tokens }], null);

/** Takes a place and computes the rest of the prompt. */
function fill(cache: PrefixCache, prompt: Prompt): Slot & { held: number; from: number } {
  const { slot, source, held } = cache.take(prompt, prompt.length - 1);
  cache.append(slot, prompt.entries.slice(held), true);
  return { ...slot, held, from: source.index };
}

test("a prompt goes on where its beginning lies, and branches off into the oldest place", () => {
  const cache = new PrefixCache(3, true);
  const first = fill(cache, promptOf(1, 2, 3));
  expect(first).toMatchObject({ index: 0, held: 0 });
  cache.append(first, [4, 5], false);
  cache.leave(first);
  const next = fill(cache, promptOf(1, 2, 3, 4, 5, 6));
  expect(next).toMatchObject({ index: 0, held: 5, from: 0 });
  const branch = fill(cache, promptOf(1, 2, 3, 9));
  expect(branch).toMatchObject({ index: 1, held: 3, from: 0, source: 0, shared: 3 });
  cache.leave(branch);
  cache.leave(next);
  expect(cache.evictions).toBe(0);
  for (let token = 20; token < 22; token++) cache.leave(fill(cache, promptOf(token, token)));
  expect(cache.evictions).toBe(1);
  expect(fill(cache, promptOf(1, 2, 3, 4, 5, 6, 7))).toMatchObject({ index: 0, held: 6 });
});

test("one position is left to compute, and only whole pieces are shared where that matters", () => {
  const all = new PrefixCache(2, true);
  fill(all, promptOf(1, 2, 3));
  expect(fill(all, promptOf(1, 2, 3)).held).toBe(2);
  const pieces = new PrefixCache(2, false);
  const prompt = new Prompt([{ type: "text", tokens: [1, 2, 3, 4, 5] }], 2);
  const { slot } = pieces.take(prompt, 4);
  for (const { start, end, isWhole } of prompt.pieces(0))
    pieces.append(slot, prompt.entries.slice(start, end), isWhole);
  pieces.append(slot, [6, 7], false);
  const longer = new Prompt([{ type: "text", tokens: [1, 2, 3, 4, 5, 6, 7, 8, 9] }], 2);
  expect(pieces.take(longer, 8).held).toBe(4);
});

test("contents that are forgotten are not shared", () => {
  const cache = new PrefixCache(2, true);
  const one = fill(cache, promptOf(1, 2, 3));
  cache.takeCopy(one);
  cache.forget(one);
  cache.leave(one);
  expect(fill(cache, promptOf(1, 2, 9))).toMatchObject({ index: 0, held: 2, from: 1 });
  cache.clear();
  cache.leave(one);
  expect(fill(cache, promptOf(1, 2, 9)).held).toBe(0);
});

test("a slot holds what was written to it, and so does the one it is read at", () => {
  const entry = fc.integer({ min: 0, max: 1 });
  const action = fc.oneof(
    fc.record({ take: fc.array(entry, { minLength: 1, maxLength: 8 }) }),
    fc.record(
      { copy: fc.nat(), append: fc.nat(), leave: fc.nat(), forget: fc.nat() },
      { requiredKeys: [] },
    ),
  );
  fc.assert(
    fc.property(fc.array(action, { maxLength: 60 }), (actions) => {
      const cache = new PrefixCache(4, true);
      const memory: Entry[][] = [[], [], [], []];
      const busy: Slot[] = [];
      const pick = (n: number | undefined): Slot | undefined =>
        n === undefined ? undefined : busy[n % busy.length];
      for (const one of actions) {
        if ("take" in one) {
          if (cache.numIdle === 0) continue;
          const prompt = promptOf(...one.take);
          const { slot, source, held } = cache.take(prompt, prompt.length - 1);
          memory[slot.index].splice(0, held, ...memory[source.index].slice(0, held));
          memory[slot.index].splice(held, Infinity, ...one.take.slice(held));
          cache.append(slot, prompt.entries.slice(held), true);
          expect(slot.entries).toEqual(one.take);
          busy.push(slot);
        } else {
          const [from, grown] = [pick(one.copy), pick(one.append)];
          if (from !== undefined && cache.numIdle > 0) {
            const slot = cache.takeCopy(from);
            memory[slot.index].splice(0, Infinity, ...memory[from.index]);
            busy.push(slot);
          }
          if (grown !== undefined) {
            memory[grown.index].splice(grown.entries.length, Infinity, 7);
            cache.append(grown, [7], false);
          }
          for (const [n, done] of [
            [one.leave, "leave"],
            [one.forget, "forget"],
          ] as const) {
            const slot = pick(n);
            if (slot === undefined) continue;
            cache[done](slot);
            if (done === "leave") busy.splice(busy.indexOf(slot), 1);
          }
        }
        for (const slot of busy) {
          const own = memory[slot.index].slice(0, slot.entries.length);
          expect(own).toEqual(slot.entries);
          expect(memory[slot.source].slice(0, slot.shared)).toEqual(own.slice(0, slot.shared));
        }
      }
    }),
    { numRuns: 300 },
  );
});

test("a prompt goes on only where a state is, its own or a kept one", () => {
  const tokens = (from: number, count: number): number[] =>
    Array.from({ length: count }, (_, i) => from + i);
  const cache = new PrefixCache(4, true, 2);
  const first = fill(cache, promptOf(...tokens(0, 200)));
  cache.extend(first, 500);
  cache.leave(first);
  // At its end, and not in its midst.
  expect(cache.held([...tokens(0, 200), 500, 1])).toBe(201);
  expect(cache.held(tokens(0, 150))).toBe(0);
  const branch = promptOf(...tokens(0, 100), ...tokens(900, 50));
  const { slot, held, keepAt } = cache.take(branch, branch.length - 1);
  expect({ held, keepAt }).toEqual({ held: 0, keepAt: [100] });
  cache.append(slot, branch.entries.slice(0, 100), true);
  const kept = cache.keep(slot)!;
  expect(cache.keep(slot)).toBeUndefined();
  cache.append(slot, branch.entries.slice(100), true);
  cache.leave(slot);
  const next = promptOf(...tokens(0, 120));
  expect(cache.take(next, next.length - 1)).toMatchObject({ held: 100, kept, keepAt: [] });
  // Little is computed anew rather than kept.
  const near = promptOf(...tokens(0, 130), 7);
  expect(cache.take(near, near.length - 1)).toMatchObject({ held: 100, keepAt: [] });
});

test("states that are kept are those of what they are taken up for, and give way to newer ones", () => {
  const entry = fc.integer({ min: 0, max: 1 });
  const prompt = fc
    .array(fc.tuple(entry, fc.integer({ min: 1, max: 90 })), { minLength: 1, maxLength: 4 })
    .map((runs) => runs.flatMap(([token, count]) => Array<number>(count).fill(token)));
  fc.assert(
    fc.property(
      fc.boolean(),
      fc.array(fc.record({ tokens: prompt, grow: fc.nat({ max: 3 }), keepBusy: fc.boolean() }), {
        maxLength: 40,
      }),
      (sharesAll, requests) => {
        const cache = new PrefixCache(3, sharesAll, 2);
        /** What the states have seen: of slots, and of kept places. */
        const live: Entry[][] = [[], [], []];
        const kept: Entry[][] = [[], []];
        let busy: Slot | undefined;
        for (const { tokens, grow, keepBusy } of requests) {
          const own = new Prompt([{ type: "text", tokens }], sharesAll ? null : 8);
          const place = cache.take(own, own.length - 1);
          const { slot, source, held } = place;
          const state = place.kept === undefined ? live[source.index] : kept[place.kept];
          if (held > 0) live[slot.index] = [...state];
          else live[slot.index] = [];
          expect(live[slot.index]).toEqual(own.entries.slice(0, held));
          for (const piece of own.pieces(held, place.keepAt)) {
            const entries = own.entries.slice(piece.start, piece.end);
            cache.append(slot, entries, piece.isWhole);
            live[slot.index].push(...entries);
            if (!place.keepAt.includes(piece.end)) continue;
            const index = cache.keep(slot);
            if (index !== undefined) kept[index] = [...live[slot.index]];
          }
          for (let n = 0; n < grow; n++) {
            cache.extend(slot, n);
            live[slot.index].push(n);
          }
          // Some steps more than the slot was told of, as where several are drawn at once.
          if (!sharesAll && grow > 0) live[slot.index].push(9);
          if (keepBusy && busy === undefined) busy = slot;
          else cache.leave(slot);
          if (!keepBusy && busy !== undefined) {
            cache.leave(busy);
            busy = undefined;
          }
        }
      },
    ),
    { numRuns: 300 },
  );
});
