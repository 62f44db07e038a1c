import fc from "fast-check";
import { expect, test } from "vitest";
import { formatToolCall, parseToolCall } from "./tool-call.ts";

test("writes the published form", () => {
  const call = { name: "search_coordinate", place: { kind: "point", x: 57, y: 83 } } as const;
  expect(formatToolCall(call)).toBe(
    '{"name": "search_coordinate", "arguments": {"coordinate": [57, 83]}}',
  );
});

test.each([
  ["{'name': 'crop', 'arguments': {'coordinate': [1, 2]}}", { kind: "point", x: 1, y: 2 }],
  [
    '{"name":"image_zoom_in_tool","arguments":{"bbox_2d":[1,2,3,4],"label":"bird"}}',
    { kind: "box", x0: 1, y0: 2, x1: 3, y1: 4 },
  ],
])("reads %s", (body, place) => {
  expect(parseToolCall(body)).toMatchObject({ ok: true, call: { place } });
});

test.each([
  ["", "notJson"],
  ["{", "notJson"],
  ["null", "unknownTool"],
  ['{"name": "click", "arguments": {"coordinate": [1, 2]}}', "unknownTool"],
  ['{"name": "crop"}', "noPlace"],
  ['{"name": "crop", "arguments": {"coordinate": [true, false]}}', "noPlace"],
  ['{"name": "crop", "arguments": {"coordinate": ["1", "2"]}}', "noPlace"],
  ['{"name": "crop", "arguments": {"coordinate": [1, 2, 3]}}', "noPlace"],
  ['{"name": "crop", "arguments": {"coordinate": [1e999, 2]}}', "noPlace"],
])("names what is wrong with %j", (body, fault) => {
  expect(parseToolCall(body)).toEqual({ ok: false, fault });
});

test("any name passes where names are unchecked; nothing throws", () => {
  const body = '{"name": "x", "arguments": {"coordinate": [1, 2]}}';
  expect(parseToolCall(body, null).ok).toBe(true);
  fc.assert(
    fc.property(fc.oneof(fc.string(), fc.json()), (text) => {
      parseToolCall(text);
    }),
  );
});
