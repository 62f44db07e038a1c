import { readFileSync } from "node:fs";
import fc from "fast-check";
import { describe, expect, test } from "vitest";
import type { ToolCall } from "./dialect.ts";
import { dialectNames, dialects } from "./table.ts";
import { parseTurn } from "../grammar.ts";

const { vigorl, published } = dialects;
const point: ToolCall = { name: "search_coordinate", args: { coordinate: [57, 83] } };

test("writes the published form", () => {
  expect(vigorl.write(point)).toBe(
    '{"name": "search_coordinate", "arguments": {"coordinate": [57, 83]}}',
  );
});

test.each(dialectNames)("%s: what it writes it reads, quoted tags and all", (name) => {
  const dialect = dialects[name];
  // The published code ends a call at the first closing tag and looks at the coordinate alone.
  const hasQuotes = name !== "published";
  const text = hasQuotes ? fc.string({ unit: "grapheme" }) : fc.constant("a label");
  const tags = hasQuotes ? ["</tool_call>", "<answer> 3 </answer>", "<think>"] : ["x"];
  const label = fc.array(fc.oneof(text, fc.constantFrom(...tags))).map((parts) => parts.join(""));
  const args = hasQuotes
    ? fc.record({ coordinate: fc.tuple(fc.nat(), fc.nat()), label })
    : fc.record({ coordinate: fc.tuple(fc.nat(), fc.nat()) });
  fc.assert(
    fc.property(fc.constantFrom("crop", "mark"), args, (tool, given) => {
      const call = { name: tool, args: given };
      const { open, close } = dialect.tags.toolCall;
      const parsed = parseTurn(
        `<think> look </think>\n${open}\n${dialect.write(call)}\n${close}`,
        dialect,
      );
      expect(parsed.toolCall).toEqual({ ok: true, call });
      expect(parsed).toMatchObject({ wellFormed: true, answer: null, isOpen: false });
    }),
  );
});

describe("a call is read where it can mean one thing only", () => {
  const read: [string, string][] = [
    ["single quotes", "{'name': 'search_coordinate', 'arguments': {'coordinate': [57, 83]}}"],
    [
      "arguments as a string",
      '{"name": "search_coordinate", "arguments": "{\\"coordinate\\": [57, 83]}"}',
    ],
    [
      "a fence",
      '```json\n{"name": "search_coordinate", "arguments": {"coordinate": [57, 83]}}\n```',
    ],
    [
      "a fence without its language",
      '```\n{"name": "search_coordinate", "arguments": {"coordinate": [57, 83]}}```',
    ],
    ["parameters", '{"name": "search_coordinate", "parameters": {"coordinate": [57, 83]}}'],
    [
      "the function wrapper",
      '{"type": "function", "function": {"name": "search_coordinate", "arguments": {"coordinate": [57, 83]}}}',
    ],
    ["a list of one", '[{"name": "search_coordinate", "arguments": {"coordinate": [57, 83]}}]'],
    ["a comma too many", '{"name": "search_coordinate", "arguments": {"coordinate": [57, 83,],},}'],
  ];
  test.each(read)("%s", (_, body) => {
    expect(vigorl.read(body)).toEqual({ ok: true, call: point });
  });

  test("an apostrophe in a string, however quoted", () => {
    const label = { label: 'the dog\'s "nose"' };
    for (const written of [`"the dog's \\"nose\\""`, `'the dog\\'s "nose"'`])
      expect(vigorl.read(`{'name': 'mark', 'arguments': {'label': ${written}}}`)).toEqual({
        ok: true,
        call: { name: "mark", args: label },
      });
  });

  test.each([
    ["", "notJson"],
    ["{", "notJson"],
    ["null", "unknownTool"],
    ["[]", "unknownTool"],
    ['{"arguments": {}}', "unknownTool"],
    ['{"name": 7, "arguments": {}}', "unknownTool"],
    ['{"name": "crop", "arguments": [1, 2]}', "badArguments"],
    ['{"name": "crop", "arguments": "57, 83"}', "badArguments"],
    ['{"name": "crop", "arguments": {}, "parameters": {}}', "badArguments"],
    ['{"name": "crop", "arguments": {"coordinate": [NaN, 1]}}', "notJson"],
    ['{"name": "crop", "arguments": {"coordinate": [57, 8', "notJson"],
    ['{"name": "crop"} or so', "notJson"],
    ['[{"name": "crop"}, {"name": "crop"}]', "severalCalls"],
    ['{"name": "crop"}\n{"name": "crop"}', "severalCalls"],
  ])("%j is none", (body, fault) => {
    expect(vigorl.read(body)).toEqual({ ok: false, fault });
  });
});

test("nothing throws, and deep nesting ends", () => {
  const wild = fc.oneof(
    fc.string(),
    fc.json(),
    fc.json().map((text) => text.replaceAll('"', "'")),
  );
  fc.assert(
    fc.property(wild, fc.constantFrom(...dialectNames), (body, name) => {
      dialects[name].read(body);
      dialects[name].quotes(body, 0);
    }),
  );
  expect(vigorl.read("[".repeat(100_000)).ok).toBe(false);
  expect(vigorl.read(`${"['a',".repeat(100_000)}]`).ok).toBe(false);
});

test("the published calls, as Python reads them", () => {
  const golden = JSON.parse(
    readFileSync(new URL("../fixtures/published-calls.json", import.meta.url), "utf8"),
  ) as { body: string; coordinate: unknown }[];
  expect(golden.length).toBeGreaterThan(100);
  for (const { body, coordinate } of golden) {
    const read = published.read(body);
    const got = read.ok ? (read.call.args.coordinate ?? null) : null;
    expect([body, JSON.stringify(got, spelled)]).toEqual([body, JSON.stringify(coordinate)]);
  }
});

/** Numbers that JSON has no words for, as the fixture spells them. */
function spelled(_: string, value: unknown): unknown {
  return typeof value === "number" && !Number.isFinite(value) ? String(value) : value;
}
