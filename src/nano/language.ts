/**
 * Everything that is said in the nano world: questions, thoughts, answers. One form from the base
 * checkpoint to reinforcement learning: a thought names a thing and then its place.
 */
import type { Point } from "../image/frames.ts";
import { formatPoint } from "../text/points.ts";
import type { Mark } from "./inks.ts";
import type { Relation, Shape } from "./world.ts";

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
export const signQuestion = "Which sign?";

/** Where only one thing can be meant. */
export const shapeQuestion = (shape: Shape): string => `Which thing is a ${shape}?`;

export const findQuestion = (digit: number): string => `Which thing carries a ${digit}?`;

export const compareQuestion = (thing: string, other: string): string =>
  `Which carries the greater digit, the ${thing} or the ${other}?`;

export const chaseQuestion = (thing: string): string =>
  `Start at the ${thing} and follow the signs. Which digit is at the end?`;

/** The answer where what is asked for is not there. */
export const noneAnswer = "none";

/** "red star (57, 83) blue heart (20, 41)". */
export function lookThought(
  things: readonly { readonly name: string; readonly place: Point<"resized"> }[],
): string {
  return things.map(({ name, place }) => `${name} ${formatPoint(place)}`).join(" ");
}

/** What a look at a plate says, and whether that is the digit that was looked for, where one was. */
export const markThought = (mark: Mark, wanted?: number): string => {
  const said = typeof mark === "number" ? `it is ${mark}` : `it says ${mark}`;
  return wanted === undefined || mark === wanted ? said : `${said} not ${wanted}`;
};

/** Between a thing that is looked at by mistake and the one that was meant. */
export const correction = "no";

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
