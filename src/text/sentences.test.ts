import fc from "fast-check";
import { expect, test } from "vitest";
import { splitSentences } from "./sentences.ts";

const cut = (thought: string) =>
  splitSentences(thought).map(({ text, points }) => [text, points.map((p) => [p.x, p.y])]);

test.each([
  ["", []],
  [" .. \n", []],
  ["one sentence (1, 2)", [["one sentence (1, 2)", [[1, 2]]]]],
  [
    "A cup at (1, 2). A plate, too!\nNo more",
    [
      ["A cup at (1, 2).", [[1, 2]]],
      ["A plate, too!", []],
      ["No more", []],
    ],
  ],
  [
    "The cup is red. (412,876) The plate is blue. (1, 2) (3, 4).",
    [
      ["The cup is red. (412,876)", [[412, 876]]],
      [
        "The plate is blue. (1, 2) (3, 4).",
        [
          [1, 2],
          [3, 4],
        ],
      ],
    ],
  ],
  [
    "(412, 876) The cup is red. (1, 2) The plate is blue.",
    [
      ["(412, 876) The cup is red.", [[412, 876]]],
      ["(1, 2) The plate is blue.", [[1, 2]]],
    ],
  ],
  [
    "The cup (1, 2) is red. (5, 6) is a plate.",
    [
      ["The cup (1, 2) is red.", [[1, 2]]],
      ["(5, 6) is a plate.", [[5, 6]]],
    ],
  ],
  ["It is at (1.5,\n2.5) now", [["It is at (1.5,\n2.5) now", [[1.5, 2.5]]]]],
])("%j", (thought, sentences) => {
  expect(cut(thought)).toEqual(sentences);
});

test("no point is lost, and each stands where its sentence says", () => {
  const piece = fc.constantFrom("(1, 2)", "(-3.5, 4)", " ", ".", "\n", "! ", "a cup", "(", "9, ");
  fc.assert(
    fc.property(fc.array(piece, { maxLength: 40 }), (pieces) => {
      const thought = pieces.join("");
      const sentences = splitSentences(thought);
      const points = sentences.flatMap(({ text, points: own }) =>
        own.map((p) => {
          expect(text.slice(p.start, p.end)).toBe(p.text);
          return p.text;
        }),
      );
      expect(points).toEqual(thought.match(/\(\s*-?\d+(\.\d+)?\s*,\s*\d+\s*\)/g) ?? []);
    }),
  );
});

test("a long text without an end is read in no time", () => {
  const text = "(1, 2) ".repeat(50_000) + "a".repeat(200_000);
  expect(splitSentences(text)[0].points).toHaveLength(50_000);
});
