import fc from "fast-check";
import { describe, expect, test } from "vitest";
import type { ToolCall } from "./dialect.ts";
import { dialectNames, dialects } from "./table.ts";
import { parseTurn } from "../grammar.ts";

const { vigorl } = dialects;
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
  const { coordinates, isNameless } = dialect;
  const number = coordinates === "relative" ? fc.integer({ min: 0, max: 1000 }) : fc.nat();
  const text = hasQuotes ? fc.string({ unit: "grapheme" }) : fc.constant("a label");
  const tags = hasQuotes ? ["</tool_call>", "<answer> 3 </answer>", "<think>"] : ["x"];
  const label = fc.array(fc.oneof(text, fc.constantFrom(...tags))).map((parts) => parts.join(""));
  const args = hasQuotes
    ? fc.record({ coordinate: fc.tuple(number, number), label })
    : fc.record({ coordinate: fc.tuple(number, number) });
  fc.assert(
    fc.property(fc.constantFrom("crop", "mark"), args, (tool, given) => {
      const call = { name: tool, args: given };
      const { open, close } = dialect.tags.toolCall;
      const parsed = parseTurn(
        `<think> look </think>\n${open}\n${dialect.write(call)}\n${close}`,
        dialect,
      );
      const read = isNameless && name !== "published" ? { ...call, name: null } : call;
      expect(parsed.toolCall).toMatchObject({ ok: true, call: read });
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

describe("Qwen3.5's form", () => {
  const xml = dialects["qwen-xml"];
  const call = (...parameters: string[]) =>
    `<function=image_zoom_in_tool>\n${parameters.join("\n")}\n</function>`;

  test("values are JSON where they read as such, and what was written is kept", () => {
    const body = call(
      "<parameter=bbox_2d>\n[10, 20, 30, 40]\n</parameter>",
      "<parameter=label>\n5\n</parameter>",
      "<parameter=why>\nit says </tool_call> there\n</parameter>",
    );
    const text = `<think> look </think>\n<tool_call>\n${body}\n</tool_call>`;
    const { toolCall, wellFormed } = parseTurn(text, xml);
    expect(wellFormed).toBe(true);
    expect(toolCall).toEqual({
      ok: true,
      call: {
        name: "image_zoom_in_tool",
        args: { bbox_2d: [10, 20, 30, 40], label: 5, why: "it says </tool_call> there" },
        texts: { bbox_2d: "[10, 20, 30, 40]", label: "5", why: "it says </tool_call> there" },
      },
    });
  });

  test.each([
    ["two functions", `${call()}\n${call()}`, "severalCalls"],
    ["no function", "zoom in, please", "unknownTool"],
    [
      "an argument twice",
      call("<parameter=a>1</parameter>", "<parameter=a>2</parameter>"),
      "badArguments",
    ],
  ])("%s", (_, body, fault) => {
    expect(xml.read(body)).toEqual({ ok: false, fault });
  });

  test("a call in JSON is read too; one that is cut within a value is open", () => {
    expect(xml.read('{"name": "crop", "arguments": {"a": 1}}')).toEqual({
      ok: true,
      call: { name: "crop", args: { a: 1 } },
    });
    const cut = "<think> a </think>\n<tool_call>\n<function=f>\n<parameter=a>\nx </tool_call>";
    expect(parseTurn(cut, xml).isOpen).toBe(true);
  });

  test("reading is linear in what was written", () => {
    const body = "<parameter=a>".repeat(20_000) + "<function=f>".repeat(20_000);
    const start = performance.now();
    xml.read(body);
    xml.quotes(body, 0);
    expect(performance.now() - start).toBeLessThan(5000);
  });
});

describe("Mini-o3's form", () => {
  const { "mini-o3": dialect } = dialects;

  test("fractions become thousandths, sources numbers of pictures", () => {
    const read = (source: string) =>
      dialect.read(`{"bbox_2d": [0.1, 0.25, 0.4, 1], "source": ${source}}`);
    const call = (picture: number) => ({
      ok: true,
      call: { name: null, args: { bbox_2d: [100, 250, 400, 1000], img_idx: picture } },
    });
    expect(read('"original_image"')).toEqual(call(0));
    expect(read('"observation_2"')).toEqual(call(2));
    for (const source of ['"observation_0"', '"elsewhere"', "1", "null"])
      expect(read(source)).toEqual({ ok: false, fault: "badArguments" });
    expect(dialect.read("[1]")).toEqual({ ok: false, fault: "badArguments" });
    expect(dialect.read("there")).toEqual({ ok: false, fault: "notJson" });
    expect(dialect.write({ name: "x", args: { bbox_2d: [100, 250, 400, 1000], img_idx: 1 } })).toBe(
      '{"bbox_2d": [0.1, 0.25, 0.4, 1], "source": "observation_1"}',
    );
  });

  test("a turn ends behind its tags", () => {
    const text = '<think> look </think>\n<grounding>{"bbox_2d": [0, 0, 1, 1]}</grounding>';
    expect(parseTurn(text, dialect)).toMatchObject({ wellFormed: true });
  });
});
