/**
 * Boxes as published: pixels or shares of the sides, corners or a corner with width and height. Nothing
 * is guessed from one row: of the conventions that a layout is known to be written in, the one is taken
 * in which every box of the set lies in its picture, and where none or several do, the set is refused
 * with the rows that say why.
 */
import { VigorlError } from "../../core/errors.ts";
import type { PixelBox, PixelSize } from "./benchmark.ts";

export const conventions = ["xyxy pixels", "xywh pixels", "xyxy shares", "xywh shares"] as const;
export type Convention = (typeof conventions)[number];

export interface PublishedBoxes {
  readonly place: string;
  readonly numbers: readonly (readonly number[])[];
  readonly size: PixelSize;
}

/** Rows whose boxes are told in full. */
const maxTold = 20;

/** A box in pixels, [x0, y0, x1, y1]. */
export function pixelBox(
  [a, b, c, d]: readonly number[],
  convention: Convention,
  { widthPx, heightPx }: PixelSize,
): PixelBox {
  const [sx, sy] = convention.endsWith("shares") ? [widthPx, heightPx] : [1, 1];
  const [x1, y1] = convention.startsWith("xywh") ? [a + c, b + d] : [c, d];
  return [a * sx, b * sy, x1 * sx, y1 * sy];
}

/** A convention, and the boxes that reach over the edge of their picture, a line each. */
export interface Recognised {
  readonly convention: Convention;
  readonly over: readonly string[];
}

/**
 * The convention of a set of boxes: the only allowed one in which every box lies in its picture, but for
 * one in a hundred that may reach over the edge and is named.
 * @throws VigorlError("input") naming rows where none of the allowed ones fits, or several do
 */
export function recogniseBoxes(
  boxes: readonly PublishedBoxes[],
  allowed: readonly Convention[],
): Recognised {
  const tried = allowed.map((convention) => ({ convention, ...problemsOf(boxes, convention) }));
  const fitting = tried.filter(
    ({ outside, over }) => outside.length === 0 && over.length <= boxes.length / 100,
  );
  if (fitting.length === 1) return fitting[0];
  if (fitting.length > 1) {
    const names = fitting.map(({ convention }) => convention).join(" and as ");
    throw new VigorlError(
      "input",
      `${boxes[0]?.place ?? "the data"}: all boxes fit as ${names}, and these differ`,
      { hint: "load more of the data, so that one of them is ruled out" },
    );
  }
  const count = ({ outside, over }: (typeof tried)[number]) => outside.length + over.length;
  const [nearest] = [...tried].sort((a, b) => count(a) - count(b));
  const wrong = [...nearest.outside, ...nearest.over];
  const told = wrong.slice(0, maxTold).map((line) => `\n  ${line}`);
  const more = wrong.length > maxTold ? `\n  and ${wrong.length - maxTold} more` : "";
  throw new VigorlError(
    "input",
    `${wrong.length} of ${boxes.length} rows have a box that does not lie in its picture, read as ${nearest.convention}:${told.join("")}${more}`,
    {
      hint: "this is another copy than the layout says; get the published one, or mend these rows",
    },
  );
}

/** What is wrong with boxes, a line each: those that lie outside or have no area, and those that reach over. */
function problemsOf(
  boxes: readonly PublishedBoxes[],
  convention: Convention,
): { outside: string[]; over: string[] } {
  const problems = { outside: [] as string[], over: [] as string[] };
  for (const { place, numbers, size } of boxes)
    for (const box of numbers) {
      const problem = boxProblem(box, convention, size);
      if (problem === null) continue;
      const [how, what] = problem;
      problems[how].push(`${place}: box [${box.join(", ")}] ${what}`);
    }
  return problems;
}

function boxProblem(
  box: readonly number[],
  convention: Convention,
  size: PixelSize,
): readonly ["outside" | "over", string] | null {
  if (box.length !== 4 || !box.every(Number.isFinite)) return ["outside", "is not four numbers"];
  const [x0, y0, x1, y1] = pixelBox(box, convention, size);
  const { widthPx, heightPx } = size;
  if (!(x0 < x1 && y0 < y1)) return ["outside", "is empty"];
  const picture = `the ${widthPx}×${heightPx} picture`;
  if (x0 >= widthPx || y0 >= heightPx || x1 <= 0 || y1 <= 0)
    return ["outside", `lies outside ${picture}`];
  // Shares that are taken for pixels all lie in the top left corner.
  if (convention.endsWith("pixels") && x1 <= 1 && y1 <= 1)
    return ["outside", "is thinner than a pixel"];
  // Published boxes are rounded: a pixel over the edge, or a thousandth of the side.
  const dx = Math.max(1, widthPx / 1000);
  const dy = Math.max(1, heightPx / 1000);
  if (x0 < -dx || y0 < -dy || x1 > widthPx + dx || y1 > heightPx + dy)
    return ["over", `reaches out of ${picture}`];
  return null;
}
