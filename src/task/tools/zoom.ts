/**
 * ViGoRL's zoom (paper §4.3.1): the window around a point, enlarged. Crops are cut from the record's
 * own pixels at the place that the model pointed to in its own frame, also where it points into a crop.
 * A call with a box, as Qwen's zoom has it, is served with the box itself.
 */
import { z } from "zod";
import { withPreset } from "../../core/preset.ts";
import { cutBox, zoom, type Crop } from "../../image/crop.ts";
import { roundHalfEven } from "../../image/smart-resize.ts";
import type { Box, Size } from "../../image/frames.ts";
import { unroundedSize } from "../../image/model-image.ts";
import { resize } from "../../image/resize.ts";
import { fillPlace, type PromptSet } from "../../text/prompts.ts";
import { partOfRecord, seenAsIs, type Picture } from "../pictures.ts";
import { cropFormat, cutSeenBox } from "./cut-box.ts";
import {
  boxArg,
  coordinateArg,
  pictureArg,
  toolArgs,
  writtenPoint,
  type PlaceArgs,
} from "./place-args.ts";
import {
  refused,
  type GivenPicture,
  type Located,
  type Tool,
  type ToolKind,
  type ToolOutcome,
  type ToolScene,
} from "./tool.ts";

const names = ["search_coordinate", "crop", "image_zoom_in_tool"] as const;

const profileNames = ["default", "paper", "repo", "repo-web", "repo-web-eval"] as const;
const fields = z.strictObject({
  profile: z
    .enum(profileNames)
    .optional()
    .describe(
      "preset that fills in what is not written: ours; the paper's crops; the repository's for visual search, for RL on screenshots, and for warm start and evaluation on screenshots",
    ),
  name: z
    .enum(names)
    .default("search_coordinate")
    .describe("the name that the model is told; calls by any of the tool's names are served"),
  windowPx: z
    .int()
    .positive()
    .default(364)
    .describe("side of the window around a point, in pixels of the image as the model sees it"),
  outputPx: z
    .int()
    .positive()
    .default(672)
    .describe("side of the crop that the model is shown, in pixels"),
  drawDot: z
    .boolean()
    .default(false)
    .describe("mark the point with a red dot (and say so in the observation)"),
  source: z
    .enum(["original", "seen"])
    .default("original")
    .describe(
      "what is enlarged: the original, or, to see what its detail is worth, the image as the model sees it",
    ),
  mode: z
    .enum(["default", "repo"])
    .default("default")
    .describe(
      '"repo" cuts, stretches and reads calls as published; "default" keeps shape and cuts original pixels',
    ),
  frame: z
    .enum(["seen", "unrounded"])
    .optional()
    .describe(
      "where a point lies: in the image as the model sees it, or, as published, in the image before its sides are rounded, where that has the right area; default: unrounded with mode: repo, else seen",
    ),
});
type ZoomSettings = z.infer<typeof fields>;

/** Half a window is the published offset; the two sides of web runs differ in the repository itself. */
const published = { name: "search_coordinate", mode: "repo" } as const;
export const zoomProfiles: Readonly<
  Record<(typeof profileNames)[number], Partial<z.input<typeof fields>>>
> = {
  default: {},
  paper: { name: "crop", windowPx: 100, outputPx: 384, drawDot: false },
  repo: { ...published, windowPx: 364, outputPx: 672, drawDot: false },
  "repo-web": { ...published, windowPx: 100, outputPx: 384, drawDot: true },
  "repo-web-eval": { ...published, windowPx: 200, outputPx: 512, drawDot: true },
};

const settings = z.preprocess((input) => withPreset(input, zoomProfiles), fields);

export const zoomTool: ToolKind<typeof settings> = {
  settings,
  make(chosen, key): Tool<PlaceArgs> {
    const isPublished = chosen.mode === "repo";
    return {
      key,
      names: [chosen.name, ...names.filter((name) => name !== chosen.name)],
      args: isPublished ? publishedArgs : args,
      settings: chosen,
      givesPicture: true,
      dialect: isPublished ? "published" : null,
      control: null,
      describe: () => ({
        ability:
          "You can enlarge the part of the image around any point, to see details that are too small.",
        use: "To enlarge a place, the action is {open} with JSON inside. You get the enlarged part in the next message.",
        care: ["Do not enlarge the same place twice, nor one a few pixels away from it."],
        action: "enlarges",
        example: { name: chosen.name, args: { coordinate: [320, 200] } },
      }),
      lookAt: (x, y) => ({ name: chosen.name, args: { coordinate: [x, y] } }),
      run: (given, scene) => Promise.resolve(run(given, scene, chosen)),
      draw: ({ shown }, canvas) => {
        if (shown !== null) canvas.box(shown);
      },
    };
  },
};

const args: z.ZodType<PlaceArgs> = toolArgs({
  coordinate: coordinateArg.optional(),
  bbox_2d: boxArg.optional(),
  img_idx: pictureArg.optional(),
});

/** The published code takes whatever is a number, and crops for it where it can. */
const anyNumber = z.custom<number>((value) => typeof value === "number");
const publishedArgs: z.ZodType<PlaceArgs> = z.object({
  coordinate: z.tuple([anyNumber, anyNumber]),
});

function run(given: PlaceArgs, scene: ToolScene, chosen: ZoomSettings): ToolOutcome {
  const { prompts } = scene;
  const anywhere = chosen.mode === "repo";
  const located = scene.locate(given, { reachPx: chosen.windowPx, anywhere });
  const { fault } = located;
  if (located.picture === null || fault !== null)
    return refused(fault ?? "noPicture", prompts, located);
  const picture = chosen.source === "original" ? located.picture : asSeen(located.picture);
  const crop = cut(located, picture, chosen, scene);
  if (crop === null) return refused("outside", prompts, located);
  return {
    located,
    gives: enlarged(crop, picture, scene),
    text: observation(located, prompts, chosen.drawDot),
    fault: null,
    ends: false,
  };
}

/** A picture with the detail that the model was shown, in as many pixels as it had. */
function asSeen(picture: Picture): Picture {
  const { widthPx, heightPx } = picture.pixels();
  return { ...picture, pixels: () => resize(picture.seen, { widthPx, heightPx }, "bicubic") };
}

/** A crop as a picture of the episode. */
export function enlarged(
  crop: Crop,
  picture: Picture,
  { preprocessor }: Pick<ToolScene, "preprocessor">,
): GivenPicture {
  return {
    seen: seenAsIs(crop.image, preprocessor),
    pixels: () => cutBox(picture.pixels(), wholePixels(crop.boxOriginal)),
    of: picture.of,
    box: partOfRecord(crop.boxOriginal, picture),
  };
}

/** What is said before an enlarged part, in the recipe's words. */
export function observation({ place }: Located, prompts: PromptSet, dotDrawn: boolean): string {
  const sentences = [prompts.observation, ...(dotDrawn ? [prompts.observationDot] : [])];
  const words = sentences.filter((part) => part !== "").join(" ");
  return place === null ? words : fillPlace(words, writtenPoint(place));
}

function cut(
  { target }: Located,
  picture: Picture,
  chosen: ZoomSettings,
  scene: ToolScene,
): Crop | null {
  if (target === null) return null;
  const format = cropFormat(scene);
  if ("x0" in target)
    return cutSeenBox(picture.pixels(), target, picture.seen, chosen.outputPx, format);
  const size = frameOf(picture, chosen, scene);
  const result = zoom(picture.pixels(), target, size, chosen, format);
  return result.ok ? result.crop : null;
}

/**
 * The size of the frame in which points are taken. The published code brings an image to the pixel
 * budget and leaves it alone within, while the model sees it with rounded sides: up to 12 px aside in
 * an image of 1920 × 1080.
 */
function frameOf(
  picture: Picture,
  { mode, frame }: ZoomSettings,
  { budget, preprocessor }: ToolScene,
): Size {
  const isUnrounded = (frame ?? (mode === "repo" ? "unrounded" : "seen")) === "unrounded";
  const { widthPx, heightPx } = unroundedSize(picture.pixels(), budget, preprocessor);
  const isLargeEnough = widthPx * heightPx >= budget.minPixels;
  const isIn = isUnrounded && isLargeEnough && picture.tool === null;
  return isIn ? { widthPx, heightPx } : picture.seen;
}

function wholePixels({ frame, x0, y0, x1, y1 }: Box<"original">): Box<"original"> {
  const [left, top] = [x0, y0].map(roundHalfEven);
  const right = Math.max(left + 1, roundHalfEven(x1));
  return { frame, x0: left, y0: top, x1: right, y1: Math.max(top + 1, roundHalfEven(y1)) };
}
