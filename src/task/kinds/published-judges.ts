/**
 * The judges of the published search and evaluation, with their faults, so that its numbers can be
 * compared: substring matches count, the typed text of an action is ignored, bounds are inclusive.
 * Texts and literals are taken as Python takes them.
 */
import { parseIntsLiteral, pythonStrip } from "../../text/python.ts";
import { relativeScale } from "../../image/frames.ts";
import type { AnswerView } from "../trajectory.ts";

/** Equal, or the truth inside the answer, after lower-casing and dropping punctuation and spaces. */
export function stringMatch(truth: string, answer: string): boolean {
  return plain(answer).includes(plain(truth));
}

/** Both must be literals of ints: four and two. */
export function pointInBbox(truth: string, answer: string): boolean {
  const area = parseIntsLiteral(truth)?.values;
  const at = parseIntsLiteral(answer)?.values;
  return area?.length === 4 && at?.length === 2 && inBbox(area, at);
}

/** Two tuples of as many ints, with a Euclidean distance below `thresholdPx`. */
export function pointMatch(truth: string, answer: string, thresholdPx = 50): boolean {
  const a = parseIntsLiteral(truth);
  const b = parseIntsLiteral(answer);
  if (a?.kind !== "tuple" || b?.kind !== "tuple" || a.values.length !== b.values.length)
    return false;
  return Math.hypot(...a.values.map((value, i) => value - b.values[i])) < thresholdPx;
}

export function webActionJudge(truth: string, answer: string): boolean {
  const right = pythonStrip(truth).toLowerCase();
  const said = pythonStrip(answer).toLowerCase();
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

/** A half-open box as the inclusive one of whole pixels that holds the same, as published truths are. */
export function inclusiveBox(
  area: readonly [number, number, number, number],
): [number, number, number, number] {
  const [x0, y0, x1, y1] = area;
  return [Math.ceil(x0), Math.ceil(y0), Math.ceil(x1) - 1, Math.ceil(y1) - 1];
}

/**
 * The inclusive box in the frame of published truths, cut to ints as the published evaluation does.
 * Of models that write thousandths, which it does not know, in theirs.
 */
export function boxInView(
  area: readonly [number, number, number, number],
  view: AnswerView | null,
): number[] {
  const inclusive = inclusiveBox(area);
  if (view === null) return inclusive;
  const { original, resized, unrounded = resized, coordinates } = view;
  const { widthPx, heightPx } = coordinates === "relative" ? relativeSize : unrounded;
  const x = widthPx / original.widthPx;
  const y = heightPx / original.heightPx;
  return inclusive.map((value, i) => Math.trunc(value * (i % 2 === 0 ? x : y)));
}

const relativeSize = { widthPx: relativeScale, heightPx: relativeScale };

const DROPPED = new Set(".?!,;:'\"()[]{}<>/\\|=+-_*&^%$#@`~ ");

function plain(text: string): string {
  return Array.from(pythonStrip(text).toLowerCase())
    .filter((char) => !DROPPED.has(char))
    .join("");
}
