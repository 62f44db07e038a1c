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
import type { Kind } from "./kind.ts";
import { boxInView, pointInBbox, pointMatch } from "./published-judges.ts";
import { readings } from "./readings.ts";

const boxTarget = z.strictObject({
  box: z.tuple([z.number(), z.number(), z.number(), z.number()]).readonly(),
});
const discTarget = z.strictObject({
  point: z.tuple([z.number(), z.number()]).readonly(),
  radius: z.number().nonnegative(),
});
const pointTarget = z.union([boxTarget, discTarget]).readonly();

/** A region that the right point lies in: original-image pixels, boxes half-open, discs closed. */
export type PointTarget = z.output<typeof pointTarget>;

export const point: Kind<PointTarget> = {
  truth: pointTarget,
  wants: "{box} or {point, radius}",
  problem: (truth) =>
    "box" in truth && !(truth.box[0] < truth.box[2] && truth.box[1] < truth.box[3])
      ? { path: ["box"], message: "the box is empty; write [x0, y0, x1, y1]" }
      : null,
  isRight: (answer, truth, { view }) => {
    const at = answerPoint(answer, view);
    return at !== null && hitsTarget(at, truth);
  },
  isRightRepo: (answer, truth, { view }) =>
    "box" in truth
      ? pointInBbox(`(${boxInView(truth.box, view).join(", ")})`, answer)
      : pointMatch(`(${truth.point.join(", ")})`, answer),
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
  const [x, y] = target.point;
  return Math.hypot(at.x - x, at.y - y) <= target.radius;
}

/** The middle of the region, in whole units of the model's own coordinates. */
function writeTarget(target: PointTarget, { original, resized, coordinates }: AnswerView): string {
  const [x0, y0, x1, y1] = "box" in target ? target.box : [...target.point, ...target.point];
  const middle = pointIn("original", (x0 + x1) / 2, (y0 + y1) / 2);
  const seen = originalToResized(middle, original, resized);
  const { x, y } = coordinates === "relative" ? resizedToRelative(seen, resized) : seen;
  return `(${Math.floor(x)}, ${Math.floor(y)})`;
}

function showTarget(target: PointTarget): ReturnType<Kind<PointTarget>["show"]> {
  if ("box" in target) return { text: `in the box (${target.box.join(", ")})`, box: target.box };
  const [x, y] = target.point;
  const { radius } = target;
  return {
    text: `within ${radius} of (${x}, ${y})`,
    box: [x - radius, y - radius, x + radius, y + radius],
  };
}
