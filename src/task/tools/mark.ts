/**
 * Draws a point, or a line from it to another, on a picture and shows the picture again, so that the
 * model can see what it means: to count, to compare heights, to follow a line.
 */
import { z } from "zod";
import { copyImage, drawDisc, drawLine } from "../../image/draw.ts";
import { contains, resizedToOriginal, type Point } from "../../image/frames.ts";
import { resize } from "../../image/resize.ts";
import { seenAsIs, type Picture } from "../pictures.ts";
import {
  coordinateArg,
  pictureArg,
  pointToResized,
  toolArgs,
  type PlaceArgs,
} from "./place-args.ts";
import {
  refused,
  type Tool,
  type ToolKind,
  type ToolOutcome,
  type ToolPlace,
  type ToolScene,
} from "./tool.ts";

const settings = z.strictObject({
  widthPx: z
    .int()
    .positive()
    .default(4)
    .describe(
      "width of a line and radius of a point, per 400 pixels of the picture's shorter side",
    ),
});

interface MarkArgs extends PlaceArgs {
  readonly to?: readonly [number, number] | undefined;
}

const args = toolArgs({
  coordinate: coordinateArg,
  to: coordinateArg.optional().describe("where a line ends that begins at the point"),
  img_idx: pictureArg.optional(),
});

const RED = [255, 0, 0] as const;

export const markTool: ToolKind<typeof settings> = {
  settings,
  make: (chosen, key): Tool<MarkArgs> => ({
    key,
    names: ["mark"],
    args,
    settings: chosen,
    givesPicture: true,
    dialect: null,
    control: null,
    describe: () => ({
      ability: "You can draw a point or a line on an image and see it again.",
      use: "To draw, the action is {open} with JSON inside: a point, or the two ends of a line. You get the image with what you drew in the next message.",
      care: [],
      action: "draws a line",
      example: { name: "mark", args: { coordinate: [320, 200], to: [480, 200] } },
    }),
    run: (given, scene) => Promise.resolve(run(given, scene, chosen.widthPx)),
    draw: ({ place }, canvas) => {
      if (place?.kind === "point") canvas.point(place);
      if (place?.kind === "line")
        canvas.line({ x: place.x0, y: place.y0 }, { x: place.x1, y: place.y1 });
    },
  }),
};

function run(given: MarkArgs, scene: ToolScene, widthPx: number): ToolOutcome {
  const { prompts, coordinates } = scene;
  const located = scene.locate(given, { reachPx: 0 });
  const { picture, asked, target, fault } = located;
  if (picture === null || fault !== null) return refused(fault ?? "noPicture", prompts, located);
  if (asked === null || target === null || "x0" in target || "x0" in asked)
    return refused("noPlace", prompts, located);
  const ends = [target];
  if (given.to !== undefined) {
    const [x, y] = given.to;
    const to = pointToResized({ x, y }, { resized: picture.seen, coordinates });
    if (!contains(picture.seen, to)) return refused("outside", prompts, located);
    ends.push({ ...to, x: to.x + target.x - asked.x, y: to.y + target.y - asked.y });
  }
  const marked = drawn(picture, ends, widthPx);
  const size = { widthPx: picture.seen.widthPx, heightPx: picture.seen.heightPx };
  return {
    located: { ...located, place: writtenMark(given) },
    gives: {
      seen: seenAsIs(resize(marked, size, "bicubic", scene.budget.resize), scene.preprocessor),
      pixels: () => marked,
      of: picture.of,
      box: picture.box,
    },
    text: given.to === undefined ? "The image with your point." : "The image with your line.",
    fault: null,
    ends: false,
  };
}

function writtenMark({ coordinate, to }: MarkArgs): ToolPlace | null {
  if (coordinate === undefined) return null;
  const [x0, y0] = coordinate;
  if (to === undefined) return { kind: "point", x: x0, y: y0 };
  return { kind: "line", x0, y0, x1: to[0], y1: to[1] };
}

/** A copy of a picture's own pixels with the point or the line in it. */
function drawn(picture: Picture, ends: readonly Point<"resized">[], widthPx: number) {
  const image = copyImage(picture.pixels());
  const unit = Math.min(image.widthPx, image.heightPx) / 400;
  const width = Math.max(1, Math.round(widthPx * unit));
  const [from, to] = ends.map((end) => resizedToOriginal(end, image, picture.seen));
  if (to === undefined) drawDisc(image, from, width, RED);
  else drawLine(image, from, to, RED, width);
  return image;
}
