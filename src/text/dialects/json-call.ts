/**
 * A call as a JSON object, `{"name": …, "arguments": {…}}`, read with the leniency that its many
 * writers need: a call is taken where it can mean one thing only. Besides the plain form these are
 * read: a Markdown fence around it, arguments encoded once more as a string, `parameters` for
 * `arguments`, the wrapper `{"type": "function", "function": {…}}`, a list of one call, and the loose
 * JSON of `loose-json.ts`. Two calls in one body are none.
 */
import type { ReadCall, ToolCall } from "./dialect.ts";
import { formatSpacedJson, parseLooseJson } from "./loose-json.ts";

/** Reads a call. Never throws. */
export function readJsonCall(body: string): ReadCall {
  const text = withoutFence(body.trim());
  const json = parseLooseJson(text);
  if (json === undefined) return { ok: false, fault: isSeveral(text) ? "severalCalls" : "notJson" };
  if (Array.isArray(json) && json.length > 1) return { ok: false, fault: "severalCalls" };
  const call = unwrapped(Array.isArray(json) ? (json as unknown[])[0] : json);
  if (call === null || typeof call.name !== "string") return { ok: false, fault: "unknownTool" };
  const args = argumentsOf(call);
  if (args === null) return { ok: false, fault: "badArguments" };
  return { ok: true, call: { name: call.name, args } };
}

/** Writes a call on one line, spaced as Python's json does. */
export function writeJsonCall({ name, args }: ToolCall): string {
  return formatSpacedJson({ ...(name === null ? {} : { name }), arguments: args });
}

type Fields = Readonly<Record<string, unknown>>;

function unwrapped(value: unknown): Fields | null {
  if (!isFields(value)) return null;
  return value.name === undefined && isFields(value.function) ? value.function : value;
}

/** No arguments are an empty object: a tool may need none. */
function argumentsOf(call: Fields): Fields | null {
  const given = call.arguments === undefined ? call.parameters : call.arguments;
  if (call.arguments !== undefined && call.parameters !== undefined) return null;
  if (given === undefined) return {};
  const value = typeof given === "string" ? parseLooseJson(given) : given;
  return isFields(value) ? value : null;
}

function isFields(value: unknown): value is Fields {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}

function withoutFence(text: string): string {
  return /^```(?:json)?\s*\n?([^]*?)\n?\s*```$/.exec(text)?.[1] ?? text;
}

/** Whether a text consists of objects on lines of their own. */
function isSeveral(text: string): boolean {
  const lines = text.split("\n").filter((line) => line.trim() !== "");
  return lines.length > 1 && lines.every((line) => isFields(parseLooseJson(line)));
}
