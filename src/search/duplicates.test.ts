import fc from "fast-check";
import { expect, test } from "vitest";
import { findDuplicates, jaccard, tripleSet, type Comparable } from "./duplicates.ts";

const at = (text: string, ...places: [number, number][]): Comparable => ({
  text,
  places: places.map(([x, y]) => ({ picture: 0, x, y })),
});

test("equal wording is a duplicate whatever the case and blanks", () => {
  const items = [at("A cup."), at("a  cup. "), at("A jug.")];
  expect(findDuplicates(items, { threshold: 1, radiusPx: 5 })).toEqual([null, "exact", null]);
});

test("near wording at the same places is one, at other places it is not", () => {
  const words = "the small red star lies left of the big blue cloud and reads";
  const items = [
    at(`${words} (10, 10)`, [10, 10]),
    at(`${words} (12, 11)`, [12, 11]),
    at(`${words} (80, 11)`, [80, 11]),
    at("something else entirely is said at this place", [10, 10]),
  ];
  const rules = { threshold: 0.8, radiusPx: 5 };
  expect(findDuplicates(items, rules)).toEqual([null, "near", null, null]);
});

test("tags, calls and coordinates say nothing about wording", () => {
  expect(
    tripleSet('<think> a red star (1, 2) </think>\n<tool_call>\n{"a": [3, 4]}\n</tool_call>'),
  ).toEqual(new Set(["a red star"]));
  expect(tripleSet("(1, 2)")).toEqual(new Set([""]));
});

test("the index finds exactly what comparing all pairs finds", () => {
  const word = fc.constantFrom("a", "b", "c", "d");
  const text = fc.array(word, { minLength: 1, maxLength: 9 }).map((words) => words.join(" "));
  const x = fc.integer({ min: 0, max: 8 });
  const place = fc.record({ picture: fc.constant(0), x, y: fc.constant(0) });
  const item = fc.record({ text, places: fc.array(place, { maxLength: 1 }) });
  fc.assert(
    fc.property(
      fc.array(item, { maxLength: 25 }),
      fc.constantFrom(0.1, 0.3, 0.5, 0.8, 0.95),
      (items, threshold) => {
        const rules = { threshold, radiusPx: 3 };
        const kept: Comparable[] = [];
        const expected = items.map((one) => {
          if (kept.some((other) => other.text === one.text)) return "exact";
          const near = kept.some(
            (other) =>
              jaccard(tripleSet(one.text), tripleSet(other.text)) >= threshold &&
              one.places.length === other.places.length &&
              one.places.every(({ x }, i) => Math.abs(x - other.places[i].x) < 3),
          );
          if (near) return "near";
          kept.push(one);
          return null;
        });
        expect(findDuplicates(items, rules)).toEqual(expected);
      },
    ),
  );
});
