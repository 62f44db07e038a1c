/**
 * What the published reward functions read off a response, the text of an episode. Kept with its
 * faults: a capitalised truth never matches a single-turn answer, points are never checked against
 * the image. Whether a pattern reads over line ends differs from function to function, and is told at
 * each. Held to `scripts/fixtures/published_rewards.py`, a restatement of the rules in Python.
 */
import { parseIntsLiteral, PYTHON_BLANKS, pythonStrip } from "../../text/python.ts";
import { acceptsStructure } from "../../text/structure.ts";
import type { Asked, Truth } from "../kinds.ts";
import { point } from "../../image/frames.ts";
import { hitsTarget } from "../kinds/point.ts";
import { inBbox, inclusiveBox } from "../kinds/published-judges.ts";
import type { FormRules, Scored } from "./term.ts";

type Response = Pick<Scored, "response" | "tools">;

/** 0 to 1; multi-turn where the tool was offered. */
export function publishedAccuracy({ response, tools }: Response, record: Asked): number {
  const { answer: truth, kind } = record;
  const text = tools.length > 0 ? pythonStrip(response) : response;
  if (typeof truth !== "string")
    return Number(hits(answerIn(text, ON_ONE_LINE) ?? pythonStrip(text), truth));
  const right = pythonStrip(truth);
  if (tools.length > 0) {
    const said = answerIn(text, ANY_CASE) ?? text;
    return Number(said.toLowerCase() === right.toLowerCase());
  }
  const said = answerIn(text, ON_ONE_LINE) ?? pythonStrip(text);
  if (kind === "action") return actionAccuracy(said, truth);
  return Number(said.replace(LETTER, "").toLowerCase() === right);
}

/** Whether tags, calls and answer have the form that is asked for. */
export function isPublishedForm(
  { response, tools }: Response,
  { kind, answer: truth }: Asked,
  { grounded }: Pick<FormRules, "grounded">,
): boolean {
  const text = tools.length > 0 ? pythonStrip(response) : response;
  const answer = answerIn(text, OVER_LINES) ?? "";
  const isAnswer = typeof truth !== "string" ? isPoint(answer) : answer !== "";
  if (tools.length > 0)
    return ENDS.test(text) && acceptsStructure(text) && publishedCalls(text) !== null && isAnswer;
  if (!isThoughtThenAnswer(text) || (kind !== "action" && !isAnswer)) return false;
  const thought = /<think>(.*?)<\/think>/s.exec(text)?.[1];
  return !grounded || (thought !== undefined && POINT.test(thought));
}

/**
 * Coordinates of the calls whose body is in braces; null when one of them does not parse or has no
 * list of two ints. Python counts True and False among the ints; 5.0 is none, nor is 5e0.
 */
export function publishedCalls(response: string): { x: number; y: number }[] | null {
  const out: { x: number; y: number }[] = [];
  for (const [, body] of response.matchAll(CALL)) {
    const at = coordinateOf(parsePythonJson(body));
    if (at === null) return null;
    out.push(at);
  }
  return out;
}

/** Digits right after the parenthesis, no sign, no decimals. */
const POINT = new RegExp(`\\(\\p{Nd}+[${PYTHON_BLANKS}]*,[${PYTHON_BLANKS}]*\\p{Nd}+\\)`, "u");
const ON_ONE_LINE = /<answer>([^\n]*?)<\/answer>/;
const OVER_LINES = /<answer>(.*?)<\/answer>/s;
const ANY_CASE = /<answer>(.*?)<\/answer>/is;
const LETTER = new RegExp(`^[A-Za-z][.)][${PYTHON_BLANKS}]*`);
const ENDS = new RegExp(`</answer>[${PYTHON_BLANKS}]*(?:<\\|im_end\\|>)?\\n?$`);
const CALL = new RegExp(
  `<tool_call>[${PYTHON_BLANKS}]*(\\{.*?\\})[${PYTHON_BLANKS}]*</tool_call>`,
  "gs",
);
const BETWEEN = new RegExp(`</think>[${PYTHON_BLANKS}]*<answer>`);
const OPENING = "<think>";
const CLOSING = "</answer>";

/** The first answer block that the pattern finds, stripped; null where there is none. */
function answerIn(text: string, pattern: RegExp): string | null {
  const match = pattern.exec(text);
  return match === null ? null : pythonStrip(match[1]);
}

/** One thought and one answer from end to end, whatever tags they hold. */
function isThoughtThenAnswer(text: string): boolean {
  return (
    text.startsWith(OPENING) &&
    text.endsWith(CLOSING) &&
    BETWEEN.test(text.slice(OPENING.length, -CLOSING.length))
  );
}

function isPoint(answer: string): boolean {
  return answer.startsWith("(") && answer.endsWith(")") && pair(answer) !== null;
}

function pair(text: string): readonly number[] | null {
  const values = parseIntsLiteral(text)?.values;
  return values?.length === 2 ? values : null;
}

function hits(answer: string, target: Exclude<Truth, string>): boolean {
  const at = pair(answer);
  if (at === null) return false;
  if ("box" in target) return inBbox(inclusiveBox(target.box), at);
  return hitsTarget(point("original", at[0], at[1]), target);
}

/** By the first verb that stands anywhere in the answer; typed text and the text of stop are not read. */
function actionAccuracy(answer: string, truth: string): number {
  for (const verb of ["go_back", "stop"])
    if (answer.includes(verb)) return Number(truth.includes(verb));
  if (answer.includes("scroll"))
    return Number(["[down]", "[up]"].some((way) => answer.includes(way) && truth.includes(way)));
  const first = { click: /\[(\p{Nd}+)\]/u, type: /\[([^\n]*?)\]/ };
  for (const verb of ["click", "type"] as const) {
    if (!answer.includes(verb)) continue;
    const said = first[verb].exec(answer)?.[1];
    const right = first[verb].exec(truth)?.[1];
    if (said === undefined || right === undefined) return 0;
    const isSame = pythonStrip(said) === pythonStrip(right);
    return 0.5 * Number(truth.includes(verb)) + 0.5 * Number(isSame);
  }
  return 0;
}

/**
 * JSON as Python reads it, with null for every float, so that ints can be told from floats: `1.0`,
 * `1e1`, NaN and Infinity. Undefined where it does not parse.
 */
function parsePythonJson(body: string): unknown {
  const whole = body.replaceAll(JSON_FLOATS, (token) => (token.startsWith('"') ? token : "null"));
  try {
    return JSON.parse(whole);
  } catch {
    return undefined;
  }
}

const JSON_FLOATS =
  /"(?:[^"\\]|\\.)*"|-?(?:0|[1-9]\d*)(?:\.\d+(?:[eE][+-]?\d+)?|[eE][+-]?\d+)|\bNaN\b|-?\bInfinity\b/gs;

function coordinateOf(call: unknown): { x: number; y: number } | null {
  if (typeof call !== "object" || call === null || !("arguments" in call)) return null;
  const args = call.arguments;
  if (typeof args !== "object" || args === null || !("coordinate" in args)) return null;
  const values: unknown = args.coordinate;
  if (!Array.isArray(values) || values.length !== 2) return null;
  const [x, y] = values.map((value: unknown) =>
    typeof value === "boolean" ? Number(value) : value,
  );
  return typeof x === "number" && typeof y === "number" ? { x, y } : null;
}
