/**
 * Calls as the published rollout reads them (`_parse_coordinate` of its multi-turn coordinator):
 * whatever Python's json takes, `arguments.coordinate` of it, and no look at the name. So NaN and
 * Infinity are numbers and true is 1; single quotes, boxes and every other leniency are no call. The
 * call ends at the first closing tag, quoted or not.
 */
import type { Dialect, ReadCall } from "./dialect.ts";
import { parsePythonJson } from "./python-json.ts";
import { vigorl } from "./vigorl.ts";

export const published: Dialect = {
  ...vigorl,
  name: "published",
  isNameless: true,
  read: readPublished,
  quotes: () => [],
};

function readPublished(body: string): ReadCall {
  const json = parsePythonJson(body.trim());
  if (json === undefined) return { ok: false, fault: "notJson" };
  const coordinate = field(field(json, "arguments"), "coordinate");
  const numbers = Array.isArray(coordinate)
    ? coordinate.map((value: unknown) => (typeof value === "boolean" ? Number(value) : value))
    : coordinate;
  const name = field(json, "name");
  const args = coordinate === undefined ? {} : { coordinate: numbers };
  return { ok: true, call: { name: typeof name === "string" ? name : null, args } };
}

function field(value: unknown, name: string): unknown {
  if (typeof value !== "object" || value === null || !Object.hasOwn(value, name)) return undefined;
  return (value as Record<string, unknown>)[name];
}
