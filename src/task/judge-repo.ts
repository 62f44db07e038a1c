/**
 * The judges of the published search and evaluation, fault for fault, so that its numbers can be
 * compared (spec §3.5): substring matches count, the typed text of an action is ignored, bounds are
 * inclusive. `judge.ts` has the sound ones.
 */
import { box, originalToResized } from "../image/frames.ts";
import type { TaskRecord } from "./record.ts";
import type { AnswerView } from "./trajectory.ts";

/** The published judge for the record's kind. With a `view`, boxes move to the model's frame as ints. */
export function judgeRepo(
  record: Pick<TaskRecord, "kind" | "answer">,
  answer: string,
  view: AnswerView | null,
): number {
  const truth = record.answer;
  if (typeof truth === "string")
    return Number(
      record.kind === "action" ? webActionJudge(truth, answer) : stringMatch(truth, answer),
    );
  if ("point" in truth) return Number(pointMatch(`(${truth.point.join(", ")})`, answer));
  return Number(pointInBbox(`(${inView(truth.box, view).join(", ")})`, answer));
}

/** Equal, or the truth inside the answer, after lower-casing and dropping punctuation and spaces. */
export function stringMatch(truth: string, answer: string): boolean {
  return strip(answer).includes(strip(truth));
}

/** Both must be literals of ints: four and two. */
export function pointInBbox(truth: string, answer: string): boolean {
  const area = parseInts(truth);
  const at = parseInts(answer);
  return area?.length === 4 && at?.length === 2 && inBbox(area, at);
}

/** Euclidean distance below `thresholdPx`. */
export function pointMatch(truth: string, answer: string, thresholdPx = 50): boolean {
  const a = parseInts(truth);
  const b = parseInts(answer);
  if (a === null || b === null || a.length !== b.length) return false;
  return Math.hypot(...a.map((value, i) => value - b[i])) < thresholdPx;
}

export function webActionJudge(truth: string, answer: string): boolean {
  const right = truth.toLowerCase();
  const said = answer.toLowerCase();
  for (const verb of ["go_back", "stop", "scroll"])
    if (said.includes(verb)) return right.includes(verb);
  const parts = said.split(" ");
  if (said.includes("click"))
    return parts.length === 2 && right.includes("click") && right.includes(parts[1]);
  if (said.includes("type"))
    return parts.length === 3 && right.includes("type") && right.includes(parts[1]);
  return false;
}

/** Inclusive bounds on all sides. */
export function inBbox(area: readonly number[], at: readonly number[]): boolean {
  return area[0] <= at[0] && at[0] <= area[2] && area[1] <= at[1] && at[1] <= area[3];
}

/** The ints of a Python tuple or list literal (`(1, 2)`, `[1, 2]`, `1, 2`); null for anything else. */
export function parseInts(text: string): number[] | null {
  const literal = text.trim();
  const match = /^\(([^()[\]]*)\)$|^\[([^()[\]]*)\]$|^([^()[\]]*,[^()[\]]*)$/.exec(literal);
  if (match === null) return null;
  const parts = (match[1] ?? match[2] ?? match[3]).split(",").map((part) => part.trim());
  if (parts.length > 1 && parts.at(-1) === "") parts.pop();
  return parts.every((part) => /^[+-]?\d+$/.test(part)) ? parts.map(Number) : null;
}

const DROPPED = new Set(".?!,;:'\"()[]{}<>/\\|=+-_*&^%$#@`~ ");

function strip(text: string): string {
  return Array.from(text.toLowerCase())
    .filter((char) => !DROPPED.has(char))
    .join("");
}

function inView(
  area: readonly [number, number, number, number],
  view: AnswerView | null,
): number[] {
  if (view === null) return [...area];
  const moved = originalToResized(box("original", ...area), view.original, view.resized);
  return [moved.x0, moved.y0, moved.x1, moved.y1].map(Math.trunc);
}
