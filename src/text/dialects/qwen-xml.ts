/**
 * The dialect of Qwen3.5 (and of Qwen3-Coder): a call as `<function=NAME>` with one `<parameter=KEY>` for
 * each argument, between `<tool_call>` tags. Values are written as they are where they are text, as JSON
 * where they are not. Who wrote 5 may have meant "5": the schema of the tool decides, for which the text
 * is kept. A call in Hermes's JSON is read too.
 */
import type { Dialect, ReadCall, Span, ToolCall } from "./dialect.ts";
import { hermes } from "./hermes.ts";
import { readJsonCall } from "./json-call.ts";
import { formatSpacedJson, parseLooseJson } from "./loose-json.ts";

export const qwenXml: Dialect = { ...hermes, name: "qwen-xml", read, write, quotes };

const FUNCTION = /<function=([^>\s]+)\s*>/g;
const PARAMETER_END = "</parameter>";

function read(body: string): ReadCall {
  if (/^[\s`]*[[{]/.test(body)) return readJsonCall(body);
  const names = [...withoutValues(body).matchAll(FUNCTION)].map((match) => match[1]);
  if (names.length > 1) return { ok: false, fault: "severalCalls" };
  const [name] = names;
  if (name === undefined) return { ok: false, fault: "unknownTool" };
  const args: Record<string, unknown> = {};
  const texts: Record<string, string> = {};
  for (const { key, text } of parametersOf(body)) {
    if (Object.hasOwn(texts, key)) return { ok: false, fault: "badArguments" };
    texts[key] = text;
    args[key] = valueOf(text);
  }
  return { ok: true, call: { name, args, texts } };
}

function write({ name, args }: ToolCall): string {
  const parameters = Object.entries(args).map(
    ([key, value]) => `<parameter=${key}>\n${written(value)}\n${PARAMETER_END}`,
  );
  return [`<function=${name ?? ""}>`, ...parameters, "</function>"].join("\n");
}

/** The values of parameters, up to where the call is over. */
function quotes(text: string, from: number): Span[] {
  const spans: Span[] = [];
  const tags = /<parameter=[^>\n]+>|<\/function>|<\/tool_call>/g;
  tags.lastIndex = from;
  for (let tag = tags.exec(text); tag !== null; tag = tags.exec(text)) {
    if (tag[0].startsWith("</")) break;
    const start = tags.lastIndex;
    const close = text.indexOf(PARAMETER_END, start);
    spans.push({ start: start - 1, end: close < 0 ? text.length + 1 : close });
    if (close < 0) break;
    tags.lastIndex = close;
  }
  return spans;
}

function* parametersOf(body: string): Generator<{ key: string; text: string }> {
  const opening = /<parameter=([^>\n]+)>/g;
  for (let tag = opening.exec(body); tag !== null; tag = opening.exec(body)) {
    const start = opening.lastIndex;
    const close = body.indexOf(PARAMETER_END, start);
    const end = close < 0 ? body.length : close;
    yield { key: tag[1].trim(), text: body.slice(start, end).replace(/^\n|\n$/g, "") };
    opening.lastIndex = end;
  }
}

function withoutValues(body: string): string {
  return body.replaceAll(/(<parameter=[^>\n]+>)[^]*?(<\/parameter>|$)/g, "$1$2");
}

/** JSON where the text is some, Python's words among it; else the text. */
function valueOf(text: string): unknown {
  const trimmed = text.trim();
  const json = /^[[{"\d-]|^(?:true|false|null|True|False|None)$/.test(trimmed)
    ? parseLooseJson(trimmed)
    : undefined;
  return json === undefined ? text : json;
}

/** Text as it is, unless it would be read as something else. */
function written(value: unknown): string {
  const isPlain =
    typeof value === "string" && !value.includes(PARAMETER_END) && valueOf(value) === value;
  if (isPlain && value === `\n${value}\n`.replace(/^\n|\n$/g, "")) return value;
  return formatSpacedJson(value).replaceAll("<", "\\u003c");
}
