/** A place in the image: right when it lies in the region of the truth, in the original's frame. */
import { z } from "zod";
import {
  box,
  insideBox,
  originalToResized,
  point as pointIn,
  resizedToOriginal,
  resizedToRelative,
  type Point,
} from "../../image/frames.ts";
import { parsePoint } from "../../text/points.ts";
import type { AnswerView } from "../trajectory.ts";
import { pointToResized } from "../tools/place-args.ts";
import type { Kind, TruthProblem } from "./kind.ts";
import { boundsOf, insideOf, insidePolygon, isFlat } from "./polygon.ts";
import { boxInView, pointInBbox, pointMatch } from "./published-judges.ts";
import { readings } from "./readings.ts";

const boxTarget = z.strictObject({
  box: z.tuple([z.number(), z.number(), z.number(), z.number()]).readonly(),
});
const discTarget = z.strictObject({
  point: z.tuple([z.number(), z.number()]).readonly(),
  radius: z.number().nonnegative(),
});
const polygonTarget = z.strictObject({
  polygon: z
    .array(z.tuple([z.number(), z.number()]).readonly())
    .min(3)
    .readonly(),
});
const absentTarget = z.strictObject({ absent: z.literal(true) });
const pointTarget = z.union([boxTarget, discTarget, polygonTarget, absentTarget]).readonly();

/**
 * A region that the right point lies in, in original-image pixels: boxes half-open, discs and polygons
 * closed. Where what is asked for is not there (`absent`), the right answer is a point with both
 * coordinates below zero.
 */
export type PointTarget = z.output<typeof pointTarget>;

export const point: Kind<PointTarget> = {
  truth: pointTarget,
  wants: "{box}, {point, radius}, {polygon} or {absent: true}",
  problem: emptyRegion,
  isRight: (answer, truth, { view }) => {
    const at = answerPoint(answer, view);
    return at !== null && hitsTarget(at, truth);
  },
  isRightRepo: (answer, truth, { view }) => {
    if ("box" in truth) return pointInBbox(`(${boxInView(truth.box, view).join(", ")})`, answer);
    if ("point" in truth) return pointMatch(`(${truth.point.join(", ")})`, answer);
    // The published code has neither polygons nor refusals.
    const at = answerPoint(answer, view);
    return at !== null && hitsTarget(at, truth);
  },
  words: {
    role: "You find the element of an image that a description names.",
    rule: "The answer is one point (x, y) in whole pixels, as near the centre of the element as you can.",
    example: "(x, y)",
  },
  asks: /^(?:please\s+)?(?:(?:left|right|double|single)[- ]?)?(?:click|tap|press|point|touch|locate|hover)\b/i,
  show: showTarget,
  write: writeTarget,
  place: answerPoint,
};

/** The place an answer points to in the original image, or null when it is no point. */
export function answerPoint(answer: string, view: AnswerView | null): Point<"original"> | null {
  for (const reading of readings(answer)) {
    const written = parsePoint(reading);
    if (written === null) continue;
    if (view === null) return pointIn("original", written.x, written.y);
    return resizedToOriginal(pointToResized(written, view), view.original, view.resized);
  }
  return null;
}

/** Whether a point lies in the region. */
export function hitsTarget(at: Point<"original">, target: PointTarget): boolean {
  if ("box" in target) return insideBox(at, box("original", ...target.box));
  if ("absent" in target) return at.x < 0 && at.y < 0;
  if ("polygon" in target) return insidePolygon(at, target.polygon);
  const [x, y] = target.point;
  return Math.hypot(at.x - x, at.y - y) <= target.radius;
}

/** What is wrong with a region that no click can hit. */
function emptyRegion(target: PointTarget): TruthProblem | null {
  if ("box" in target && !(target.box[0] < target.box[2] && target.box[1] < target.box[3]))
    return { path: ["box"], message: "the box is empty; write [x0, y0, x1, y1]" };
  if ("point" in target && target.radius === 0)
    return {
      path: ["radius"],
      message: "a disc of radius 0 is empty; write how far off is still right, in pixels",
    };
  if ("polygon" in target && isFlat(target.polygon))
    return { path: ["polygon"], message: "the polygon is a line; write its corners in order" };
  return null;
}

/** The middle of the region, in whole units of the model's own coordinates. */
function writeTarget(target: PointTarget, { original, resized, coordinates }: AnswerView): string {
  if ("absent" in target) return "(-1, -1)";
  const middle = pointIn("original", ...middleOf(target));
  const seen = originalToResized(middle, original, resized);
  const { x, y } = coordinates === "relative" ? resizedToRelative(seen, resized) : seen;
  return `(${Math.floor(x)}, ${Math.floor(y)})`;
}

function middleOf(target: Exclude<PointTarget, { absent: true }>): [x: number, y: number] {
  if ("point" in target) return [...target.point];
  if ("polygon" in target) return insideOf(target.polygon);
  const [x0, y0, x1, y1] = target.box;
  return [(x0 + x1) / 2, (y0 + y1) / 2];
}

function showTarget(target: PointTarget): ReturnType<Kind<PointTarget>["show"]> {
  if ("box" in target) return { text: `in the box (${target.box.join(", ")})`, box: target.box };
  if ("absent" in target) return { text: "not there: (-1, -1)" };
  if ("polygon" in target) {
    const corners = target.polygon.map(([x, y]) => `(${x}, ${y})`).join(" ");
    return { text: `in the polygon ${corners}`, box: boundsOf(target.polygon) };
  }
  const [x, y] = target.point;
  const { radius } = target;
  return {
    text: `within ${radius} of (${x}, ${y})`,
    box: [x - radius, y - radius, x + radius, y + radius],
  };
}
