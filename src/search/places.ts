/**
 * When two steps are the same to the search: they look at the same place, say the same, or give the
 * same answer. "near" compares points in the image as the model sees it; "written" compares the
 * coordinates as the published code does, letter by letter, along the path that begins with the
 * question.
 */
import type { RecordPlace } from "../task/pictures.ts";
import { isNear, parsePoint } from "../text/points.ts";
import type { DropReason, StepLine } from "./tree-line.ts";

export interface RepeatRules {
  readonly repeats: "near" | "written";
  readonly repeatRadiusPx: number;
}

/**
 * Why a new child is not worth having beside its siblings and below its path, or null.
 * Answers are compared with answers, steps with steps.
 */
export function repeatOf(
  step: StepLine,
  path: readonly StepLine[],
  siblings: readonly StepLine[],
  rules: RepeatRules,
  question = "",
): DropReason | null {
  const { repeats, repeatRadiusPx: radius } = rules;
  if (repeats === "written")
    return step.answer === null && writtenAgain(step, path, question) ? "samePlace" : null;
  if (step.answer !== null) {
    const { answer } = step;
    const same = siblings.some(
      (other) => other.answer !== null && sameAnswer(answer, other.answer, radius),
    );
    return same ? "sameAnswer" : null;
  }
  const open = siblings.filter((other) => other.answer === null);
  if (open.some((other) => other.text === step.text)) return "sameText";
  const places = placesOf(step);
  if (places.length === 0) return null;
  if (isCovered(places, path.flatMap(placesOf), radius)) return "samePlace";
  const isSibling = (other: StepLine) =>
    isCovered(places, placesOf(other), radius) && isCovered(placesOf(other), places, radius);
  return open.some(isSibling) ? "samePlace" : null;
}

/** What a step looks at: the tool's place where there is one, else the points of its thoughts. */
export function placesOf(step: Pick<StepLine, "points" | "toolUse">): RecordPlace[] {
  const at = step.toolUse?.at ?? null;
  return at === null ? step.points : [at];
}

/** Equal but for case and blanks; points when they lie within the radius. */
export function sameAnswer(a: string, b: string, radiusPx: number): boolean {
  const pointA = parsePoint(a);
  const pointB = parsePoint(b);
  if (pointA !== null && pointB !== null)
    return Math.hypot(pointA.x - pointB.x, pointA.y - pointB.y) < Math.max(radiusPx, 1e-9);
  return plain(a) === plain(b);
}

/** Whether each of `places` lies near one of `others` on the same picture. */
export function isCovered(
  places: readonly RecordPlace[],
  others: readonly RecordPlace[],
  radiusPx: number,
): boolean {
  const distance = Math.max(radiusPx, 1e-9);
  return places.every((place) => others.some((other) => isNear(place, other, distance)));
}

/** Whether any coordinate of a step stands in the question or in its path already. */
function writtenAgain(step: StepLine, path: readonly StepLine[], question: string): boolean {
  const used = new Set([question, ...path.map(({ text }) => text)].flatMap(writtenPoints));
  return writtenPoints(step.text).some((written) => used.has(written));
}

function writtenPoints(text: string): string[] {
  return Array.from(text.matchAll(/\(\s*\d+\s*,\s*\d+\s*\)/g), ([written]) => written);
}

function plain(text: string): string {
  return text.normalize("NFKC").toLowerCase().replaceAll(/\s+/g, " ").trim();
}
