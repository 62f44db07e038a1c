/**
 * The rewards as the published code computes them, from the decoded response alone (spec §6.3–§6.7,
 * vectors in the test). Kept with its faults: answers over several lines are not found, a capitalised
 * truth never matches a single-turn answer, points are never checked against the image, and a wrong
 * answer earns the bonus too.
 */
import { countDistinct, scanPoints } from "../text/points.ts";
import { acceptsStructure } from "../text/structure.ts";
import { inBbox } from "./kinds/published-judges.ts";
import type { PointTarget } from "./kinds/point.ts";
import type { TaskRecord } from "./record.ts";
import { parseIntsLiteral } from "../text/python.ts";
import { reward, type FormRules, type Reward, type Scored } from "./reward-terms.ts";

/** The published rule for the episode: multi-turn where the tool was offered. */
export function repoReward(
  { response, canZoom }: Pick<Scored, "response" | "canZoom">,
  record: Pick<TaskRecord, "kind" | "answer">,
  rules: FormRules,
): Reward {
  return canZoom
    ? multiTurnReward(response, record, rules.minDistancePx)
    : singleTurnReward(response, record, rules.grounded);
}

/** 0.5 · accuracy + 0.5 · form; without `grounded`, the vanilla baseline's. */
export function singleTurnReward(
  response: string,
  { kind, answer: truth }: Pick<TaskRecord, "kind" | "answer">,
  grounded: boolean,
): Reward {
  const answer = extractAnswer(response);
  const accuracy =
    typeof truth !== "string"
      ? pointAccuracy(answer, truth)
      : kind === "action"
        ? actionAccuracy(answer, truth)
        : Number(answer.replace(/^[A-Za-z][.)]\s*/, "").toLowerCase() === truth);
  const isFormed =
    FULL.test(response) &&
    (typeof truth !== "string" ? isPoint(answer) : kind === "action" || answer !== "");
  const thought = /<think>(.*?)<\/think>/s.exec(response)?.[1] ?? "";
  const isGrounded = !grounded || scanPoints(thought, "repo").length > 0;
  const format = isFormed && isGrounded ? 1 : 0;
  return reward(accuracy, { answer: 0.5 * accuracy, format: 0.5 * format, distinct: 0 });
}

/** 0.6 · accuracy + 0.4 · (form + 0.2 for each distinct coordinate after the first). */
export function multiTurnReward(
  response: string,
  { answer: truth }: Pick<TaskRecord, "answer">,
  minDistancePx = 10,
): Reward {
  const text = response.trim();
  const answer = extractAnswer(text);
  const accuracy =
    typeof truth === "string"
      ? Number(answer.toLowerCase() === truth.toLowerCase())
      : pointAccuracy(answer, truth);
  const calls = toolCoordinates(text);
  const isFormed =
    /<\/answer>\s*(?:<\|im_end\|>)?$/.test(text) &&
    acceptsStructure(text) &&
    calls !== null &&
    (typeof truth === "string" ? answer !== "" : isPoint(answer));
  const extra =
    isFormed && calls !== null ? Math.max(0, countDistinct(calls, minDistancePx) - 1) : 0;
  return reward(accuracy, {
    answer: 0.6 * accuracy,
    format: isFormed ? 0.4 : 0,
    distinct: 0.4 * 0.2 * extra,
  });
}

const FULL = /^<think>.*<\/think>\s*<answer>.*<\/answer>$/s;

/** What stands in the first answer block, if that is on one line; else the whole response. */
function extractAnswer(response: string): string {
  return (/<answer>(.*?)<\/answer>/.exec(response)?.[1] ?? response).trim();
}

function isPoint(answer: string): boolean {
  return (
    answer.startsWith("(") && answer.endsWith(")") && parseIntsLiteral(answer)?.values?.length === 2
  );
}

function pointAccuracy(answer: string, target: PointTarget): number {
  const at = parseIntsLiteral(answer)?.values;
  if (at?.length !== 2) return 0;
  if ("box" in target) return Number(inBbox(target.box, at));
  const [x, y] = target.point;
  return Number(Math.hypot(at[0] - x, at[1] - y) <= target.radius);
}

function actionAccuracy(answer: string, truth: string): number {
  for (const verb of ["go_back", "stop"])
    if (answer.includes(verb)) return Number(truth.includes(verb));
  if (answer.includes("scroll"))
    return Number(truth.includes("scroll") && bracket(answer) === bracket(truth));
  for (const verb of ["click", "type"])
    if (answer.includes(verb)) {
      const id = /\[(\d+)\]/.exec(answer)?.[1];
      const rightId = /\[(\d+)\]/.exec(truth)?.[1];
      return 0.5 * Number(truth.includes(verb)) + 0.5 * Number(id !== undefined && id === rightId);
    }
  return 0;
}

function bracket(action: string): string | undefined {
  return /\[(.*?)\]/.exec(action)?.[1];
}

/**
 * Coordinates of the calls whose body is in braces; null when one of them does not parse or has no
 * list of two ints. Python counts True and False among the ints; 5.0 is none.
 */
function toolCoordinates(text: string): { x: number; y: number }[] | null {
  const out: { x: number; y: number }[] = [];
  for (const [, body] of text.matchAll(/<tool_call>\s*(\{.*?\})\s*<\/tool_call>/gs)) {
    let call: unknown;
    try {
      call = JSON.parse(body);
    } catch {
      return null;
    }
    const at = coordinateOf(call);
    const written = /"coordinate"\s*:\s*\[([^\]]*)\]/.exec(body)?.[1] ?? "";
    if (at === null || /[.eE]/.test(written.replaceAll(/true|false/g, ""))) return null;
    out.push(at);
  }
  return out;
}

function coordinateOf(call: unknown): { x: number; y: number } | null {
  if (typeof call !== "object" || call === null || !("arguments" in call)) return null;
  const args = call.arguments;
  if (typeof args !== "object" || args === null || !("coordinate" in args)) return null;
  const pair = args.coordinate;
  if (!Array.isArray(pair) || pair.length !== 2) return null;
  const [x, y] = pair.map((value: unknown) => (typeof value === "boolean" ? Number(value) : value));
  if (!Number.isInteger(x) || !Number.isInteger(y)) return null;
  return { x: Number(x), y: Number(y) };
}
