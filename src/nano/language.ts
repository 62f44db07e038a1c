/**
 * Everything that is said in the nano world: questions, thoughts, answers. One form from the base
 * checkpoint to reinforcement learning: a thought names a thing and then its place.
 */
import type { Point } from "../image/frames.ts";
import { formatPoint } from "../text/points.ts";
import type { Relation } from "./world.ts";

/** Put behind a question, on a line of its own, when there is no tool: the model answers unaided. */
export const noToolSuffix = "Answer at once.";

export const searchQuestion = (thing: string): string => `Which digit is on the ${thing}?`;

export const relationQuestion = (thing: string, other: string): string =>
  `Where is the ${thing} seen from the ${other}: left, right, above or below?`;

export const clickQuestion = (thing: string): string => `Click on the ${thing}.`;

export const placeQuestion = (thing: string): string => `Where is the ${thing}?`;

export const thingQuestion = (place: Point<"resized">): string =>
  `What is at ${formatPoint(place)}?`;

/** Asked of a lone crop. */
export const digitQuestion = "Which digit?";

/** "red star (57, 83) blue heart (20, 41)". */
export function lookThought(
  things: readonly { readonly name: string; readonly place: Point<"resized"> }[],
): string {
  return things.map(({ name, place }) => `${name} ${formatPoint(place)}`).join(" ");
}

export const digitThought = (digit: number): string => `it is ${digit}`;

/**
 * Where one place lies as seen from another, or null when no axis dominates: the larger offset is at
 * least twice the smaller one and 12 view pixels.
 */
export function relationBetween(
  from: { readonly x: number; readonly y: number },
  to: { readonly x: number; readonly y: number },
): Relation | null {
  const dx = to.x - from.x;
  const dy = to.y - from.y;
  const wide = Math.max(Math.abs(dx), Math.abs(dy));
  if (wide < 12 || wide < 2 * Math.min(Math.abs(dx), Math.abs(dy))) return null;
  if (wide === Math.abs(dx)) return dx < 0 ? "left" : "right";
  return dy < 0 ? "above" : "below";
}
