import fc from "fast-check";
import { describe, expect, test } from "vitest";
import {
  forcedAnswerPrefix,
  formatTurn,
  parseTurn,
  splitSegments,
  stopStrings,
  type Turn,
} from "./grammar.ts";
import { acceptsDialogue, acceptsStructure, formatTrace, parseTrace } from "./structure.ts";
import type { Dialect } from "./dialects/dialect.ts";
import { vigorl } from "./dialects/vigorl.ts";
import { defaultTags, type Tags } from "./tags.ts";

const otherTags: Tags = {
  think: { open: "[[thought]]", close: "[[/thought]]" },
  answer: { open: "[[final]]", close: "[[/final]]" },
  toolCall: { open: "[[do]]", close: "[[/do]]" },
  observation: { open: "[[see]]", close: "[[/see]]" },
};

const tagWords = Object.values(defaultTags).flatMap((pair) => [pair.open, pair.close]);
/** Text as models write it at their worst: tags, points and JSON shuffled into anything. */
const wild = fc
  .array(fc.oneof(fc.string(), fc.constantFrom(...tagWords, "(1, 2)", "{}", '{"name":', "\n")))
  .map((parts) => parts.join(""));
/** Text without tags, as a block may hold it. */
const inner = fc
  .string({ unit: "grapheme", minLength: 1 })
  .map((text) => text.trim())
  .filter((text) => text !== "" && !/[<[\]]/.test(text));
const coordinate = fc.integer({ min: -50, max: 5000 });
const args = fc.oneof(
  fc.record({ coordinate: fc.tuple(coordinate, coordinate) }),
  fc.record({ bbox_2d: fc.tuple(coordinate, coordinate, coordinate, coordinate), label: inner }),
);
const toolCall = fc.record({ name: fc.constantFrom("search_coordinate", "crop"), args });
const otherDialect: Dialect = { ...vigorl, tags: otherTags };
const turn: fc.Arbitrary<Turn> = fc.oneof(
  fc.record({ think: inner, toolCall }),
  fc.record({ think: inner, answer: inner }),
);

test("parsing never throws, and segments give the text back", () => {
  fc.assert(
    fc.property(wild, (text) => {
      parseTurn(text);
      parseTrace(text);
      for (const segment of splitSegments(text))
        expect(text.slice(segment.start, segment.start + segment.text.length)).toBe(segment.text);
    }),
    { numRuns: 500 },
  );
});

test("parse(format(turn)) = turn, in both layouts and with other tags", () => {
  const layout = fc.constantFrom("inline" as const, "block" as const);
  fc.assert(
    fc.property(turn, layout, fc.constantFrom(vigorl, otherDialect), (said, shape, dialect) => {
      const parsed = parseTurn(formatTurn(said, shape, dialect), dialect);
      expect(parsed.wellFormed).toBe(true);
      expect(parsed.thinks).toEqual([said.think]);
      const { answer, toolCall: called } = parsed;
      expect(answer).toEqual("answer" in said ? { text: said.answer, closed: true } : null);
      expect(called).toEqual("toolCall" in said ? { ok: true, call: said.toolCall } : null);
    }),
  );
});

test("parseTrace(formatTrace(turns)) gives turns and observations back", () => {
  const steps = fc.array(fc.record({ think: inner, toolCall, seen: inner }), { maxLength: 5 });
  fc.assert(
    fc.property(steps, inner, inner, (zooms, think, answer) => {
      const turns = [...zooms.map((step) => formatTurn(step)), formatTurn({ think, answer })];
      const seen = zooms.map((step) => step.seen);
      const trace = parseTrace(formatTrace(turns, seen));
      expect(trace.observations).toEqual(seen);
      expect(trace.turns.map((t) => t.thinks[0])).toEqual([...zooms.map((z) => z.think), think]);
      expect(trace.turns.every((t) => t.wellFormed)).toBe(true);
      expect(trace.answer?.text).toBe(answer);
      expect(trace.accepted).toBe(true);
    }),
  );
});

test("a decoded chat reads as its turns", () => {
  const text =
    '<think> at (5, 6) </think>\n<tool_call>\n{"name": "crop", "arguments": {"coordinate": [5, 6]}}\n</tool_call>' +
    "\nuser\n<observation>\n\n</observation>\nassistant\n<think> it is (7, 8) </think>\n<answer> 7 </answer>";
  const trace = parseTrace(text);
  expect(trace.turns).toHaveLength(2);
  expect(trace.turns.every((parsed) => parsed.wellFormed)).toBe(true);
  expect(trace.points.map(({ turn: k, text: written }) => [k, written])).toEqual([
    [0, "(5, 6)"],
    [1, "(7, 8)"],
  ]);
});

describe("turns that are not well formed still say what they can", () => {
  test.each([
    ["<answer> 7 </answer>", "7", true],
    ["<think> x </think> so <answer> 7 </answer>", "7", true],
    ["<think> open <answer> 7 </answer>", "7", true],
    ["<think> I will use <answer> soon </think><answer> 8 </answer>", "8", true],
    ["<think> maybe <answer> 3 </answer> </think>\n<answer> 7 </answer>", "7", true],
    ["<think> x </think>\n<answer> line\nbreak </answer>", "line\nbreak", true],
    ["<think> x </think>\n<answer> cut off", "cut off", false],
    ["<think> x </think>", undefined, undefined],
    ["", undefined, undefined],
  ])("%j", (text, answer, closed) => {
    const parsed = parseTurn(text);
    expect(parsed.answer?.text).toBe(answer);
    expect(parsed.answer?.closed).toBe(closed);
  });

  test("empty blocks, second blocks and observations of its own spoil the form", () => {
    for (const text of [
      "<think> </think>\n<answer> 7 </answer>",
      "<think> x </think>\n<answer>  </answer>",
      "<think> x </think><think> y </think><answer> 7 </answer>",
      "<think> x </think><answer> 7 </answer><answer> 8 </answer>",
      "<think> x </think><observation> a crop </observation><answer> 7 </answer>",
      "<think> x </think><answer> 7 </answer> bye",
    ])
      expect([text, parseTurn(text).wellFormed]).toEqual([text, false]);
    expect(parseTurn("<think> x </think>\n<answer> 7 </answer>\n").wellFormed).toBe(true);
  });
});

describe("what is quoted counts for nothing", () => {
  const call = '{"name": "crop", "arguments": {"coordinate": [5, 6]}}';
  test.each<[string, string, string | undefined, boolean]>([
    [
      "an answer in a thought",
      "<think> not <answer> 3 </answer> yet </think>\n<answer> 7 </answer>",
      "7",
      false,
    ],
    [
      "a call in a thought",
      `<think> I could write <tool_call>{"name": "x"}</tool_call> but </think>\n<tool_call>${call}</tool_call>`,
      undefined,
      true,
    ],
    [
      "a closing tag in a string of a call",
      `<think> a </think>\n<tool_call>${call.replace("}}", ', "label": "the word </tool_call> here"}}')}</tool_call>`,
      undefined,
      true,
    ],
    [
      "an answer in a string of a call",
      `<think> a </think>\n<tool_call>${call.replace("}}", ', "label": "says <answer> 3 </answer>"}}')}</tool_call>`,
      undefined,
      true,
    ],
    [
      "a tag behind an escaped quote",
      `<think> a </think>\n<tool_call>${call.replace("}}", ', "label": "\\"</tool_call>\\""}}')}</tool_call>`,
      undefined,
      true,
    ],
  ])("%s", (_, text, answer, calls) => {
    const parsed = parseTurn(text);
    expect(parsed).toMatchObject({ wellFormed: true, isOpen: false });
    expect(parsed.answer?.text).toBe(answer);
    expect(parsed.toolCall?.ok ?? false).toBe(calls);
  });

  test("while a thought or a string is open, a tag may yet be quoted", () => {
    const open = (text: string) => parseTurn(text).isOpen;
    expect(open("<think> I might say <answer> 3 </answer>")).toBe(true);
    expect(open('<think> a </think><tool_call>{"label": "the word </tool_call>')).toBe(true);
    expect(open("<think> a </think><answer> 7 </answer>")).toBe(false);
    expect(open(`<think> a </think><tool_call>${call}</tool_call>`)).toBe(false);
  });

  test("a string that never closes leaves the tags what they look like", () => {
    const parsed = parseTurn('<think> a </think><tool_call>{"name": "x</tool_call>');
    expect(parsed.segments.at(-1)).toMatchObject({ kind: "toolCall", closed: true });
    expect(parsed.toolCall).toEqual({ ok: false, fault: "notJson" });
  });
});

test("only the first tool call counts", () => {
  const call = (x: number) =>
    `<tool_call>{"name": "crop", "arguments": {"coordinate": [${x}, 1]}}</tool_call>`;
  const parsed = parseTurn(`<think> x </think>${call(1)}${call(2)}`);
  expect(parsed.toolCall).toMatchObject({ ok: true, call: { args: { coordinate: [1, 1] } } });
  expect(parsed.wellFormed).toBe(false);
});

test("points count in thoughts only, with offsets in the whole turn", () => {
  const text = "(1, 1) <think> at ( 2, 3 ) </think>\n<answer> (4, 5) </answer>";
  const [only, ...rest] = parseTurn(text).points;
  expect(rest).toEqual([]);
  expect(text.slice(only.start, only.end)).toBe("( 2, 3 )");
});

describe("the structure automaton", () => {
  const zoom = "<think>a</think><tool_call>b</tool_call><observation>c</observation>";
  test.each([
    ["<think>a</think><answer>b</answer>", true],
    [`${zoom}<think>a</think><answer>b</answer>`, true],
    [`${zoom}${zoom} x <THINK>a</THINK> y <Answer>b</Answer> tail`, true],
    [`${zoom}<answer>b</answer>`, false],
    ["<think>a</think><think>a</think><answer>b</answer>", false],
    ["<think>a</think><answer>b</answer><answer>b</answer>", false],
    ["<think>a</think><tool_call>b</tool_call><think>a</think><answer>b</answer>", false],
    ["<answer>b</answer>", false],
    ["no tags", false],
  ])("%j → %s", (text, accepted) => {
    expect(acceptsStructure(text)).toBe(accepted);
  });

  test("a dialogue in another dialect's tags is one, too", () => {
    const other = zoom.replaceAll("observation", "tool_response");
    const answered = `${other}<think>a</think><answer>b</answer>`;
    expect([acceptsStructure(answered), acceptsDialogue(answered)]).toEqual([false, true]);
    expect(acceptsDialogue(`${other}<answer>b</answer>`)).toBe(false);
  });
});

test("a forced answer opens the answer and stops where answers stop", () => {
  const prefix = forcedAnswerPrefix("Now.");
  expect(parseTurn(`${prefix} 7 </answer>`)).toMatchObject({
    answer: { text: "7", closed: true },
    wellFormed: true,
  });
  expect(stopStrings(true)).toEqual(["</tool_call>", "</answer>"]);
  expect(stopStrings(false)).toEqual(["</answer>"]);
});
