/**
 * The zoom tool, one pure step: a tool call in, a crop or the reason why there is none out. Crops are
 * cut from the original pixels at the place that the model pointed to in its own frame. Two controls
 * ask whether crops matter: "blank" shows black of the same size, "elsewhere" a window at a random
 * place that is drawn from the episode's seed.
 */
import { z } from "zod";
import { stream } from "../core/random.ts";
import { cutBox, zoom, type Crop } from "../image/crop.ts";
import type { RgbImage } from "../image/decode.ts";
import {
  box,
  contains,
  originalToResized,
  point,
  relativeToResized,
  resizedToOriginal,
  type Box,
  type Point,
  type Size,
} from "../image/frames.ts";
import { blankLike, toModelImage, type ModelImage } from "../image/model-image.ts";
import { tokenSide, type PreprocessorConfig } from "../image/preprocessor-config.ts";
import { resize } from "../image/resize.ts";
import { anyBudget, maxAspectRatio, smartResize } from "../image/smart-resize.ts";
import type { ToolCallResult, ToolPlace } from "../text/tool-call.ts";
import type { ToolFault } from "../text/prompts.ts";
import type { AnswerView, EpisodeZoom } from "./trajectory.ts";

export const zoomConfigSchema = z.strictObject({
  enabled: z
    .boolean()
    .default(true)
    .describe("offer the tool; without it an episode is a single turn"),
  toolName: z
    .enum(["search_coordinate", "crop", "image_zoom_in_tool"])
    .default("search_coordinate")
    .describe(
      "the name that the system prompt tells; calls by any of the tool's known names are served",
    ),
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
  mode: z
    .enum(["default", "repo"])
    .default("default")
    .describe(
      '"repo" cuts and stretches as published; "default" keeps shape and cuts original pixels',
    ),
  maxTurns: z.int().positive().default(5).describe("assistant turns, the answering one included"),
  maxImages: z
    .int()
    .positive()
    .default(5)
    .describe("images in the conversation, the question's included"),
  maxTokensPerTurn: z.int().positive().default(1024).describe("tokens of one assistant turn"),
  maxTotalTokens: z
    .int()
    .positive()
    .default(4096)
    .describe("positions after the prompt: text of everybody and crops"),
  forceAnswer: z
    .boolean()
    .default(true)
    .describe(
      "open the answer for the model in the last turn; else a further call ends the episode",
    ),
  control: z
    .enum(["none", "blank", "elsewhere"])
    .default("none")
    .describe("what zooms show instead: black, or a random other place"),
});

export type ZoomConfig = z.infer<typeof zoomConfigSchema>;

/** What the tool looks at. */
export interface ZoomScene {
  readonly image: RgbImage;
  readonly view: AnswerView;
  readonly preprocessor: PreprocessorConfig;
}

export type ZoomStep =
  | { readonly ok: true; readonly image: ModelImage; readonly zoom: EpisodeZoom }
  | { readonly ok: false; readonly fault: ToolFault };

/** Carries out a tool call. `seed` and `turn` choose the place of the control "elsewhere". */
export function zoomStep(
  call: ToolCallResult,
  scene: ZoomScene,
  config: ZoomConfig,
  seed: number,
  turn: number,
): ZoomStep {
  if (!call.ok) return { ok: false, fault: call.fault };
  const target = toResized(call.call.place, scene.view);
  const at = "x0" in target ? centreOf(target) : target;
  if (!insideImage(target, scene.view.resized, config)) return { ok: false, fault: "outside" };
  const crop = cut(elsewhere(target, scene, config, seed, turn), scene, config);
  const seen = toModelImage(crop.image, ANY_SIZE, scene.preprocessor);
  const image = config.control === "blank" ? blankLike(seen) : seen;
  return {
    ok: true,
    image,
    zoom: {
      turn,
      place: call.call.place,
      at,
      boxOriginal: crop.boxOriginal,
      outputSize: { widthPx: image.widthPx, heightPx: image.heightPx },
      imageHash: image.hash,
      control: config.control,
    },
  };
}

/** The place a point in the model's text names, in the first image as the model sees it. */
export function pointToResized(
  at: { readonly x: number; readonly y: number },
  view: AnswerView,
): Point<"resized"> {
  return view.coordinates === "relative"
    ? relativeToResized(point("relative", at.x, at.y), view.resized)
    : point("resized", at.x, at.y);
}

type Target = Point<"resized"> | Box<"resized">;

const ANY_SIZE = { minPixels: 1, maxPixels: 2 ** 31 };

function toResized(place: ToolPlace, view: AnswerView): Target {
  if (place.kind === "point") return pointToResized(place, view);
  const a = pointToResized({ x: place.x0, y: place.y0 }, view);
  const b = pointToResized({ x: place.x1, y: place.y1 }, view);
  return box("resized", a.x, a.y, b.x, b.y);
}

function centreOf(area: Box<"resized">): Point<"resized"> {
  return point("resized", (area.x0 + area.x1) / 2, (area.y0 + area.y1) / 2);
}

function insideImage(target: Target, size: Size, config: ZoomConfig): boolean {
  if (!("x0" in target)) return config.mode === "repo" || contains(size, target);
  const clipped = clip(target, size);
  return clipped.x1 - clipped.x0 >= 1 && clipped.y1 - clipped.y0 >= 1;
}

function clip(area: Box<"resized">, size: Size): Box<"resized"> {
  return box(
    "resized",
    Math.max(0, area.x0),
    Math.max(0, area.y0),
    Math.min(size.widthPx, area.x1),
    Math.min(size.heightPx, area.y1),
  );
}

/**
 * The control's place instead of the model's: uniform over the image, but a window away from where the
 * model pointed, if one of 100 draws is; a box keeps its size.
 */
function elsewhere(
  target: Target,
  { view }: ZoomScene,
  config: ZoomConfig,
  seed: number,
  turn: number,
): Target {
  if (config.control !== "elsewhere") return target;
  const random = stream(seed, "elsewhere", turn);
  const area =
    "x0" in target ? clip(target, view.resized) : { ...target, x0: 0, y0: 0, x1: 1, y1: 1 };
  const width = area.x1 - area.x0;
  const height = area.y1 - area.y0;
  const from = "x0" in target ? { x: area.x0, y: area.y0 } : target;
  const away = "x0" in target ? Math.max(width, height) : config.windowPx;
  let x = 0;
  let y = 0;
  for (let draw = 0; draw < 100; draw++) {
    x = random.int(0, Math.floor(view.resized.widthPx - width));
    y = random.int(0, Math.floor(view.resized.heightPx - height));
    if (Math.max(Math.abs(x - from.x), Math.abs(y - from.y)) >= away) break;
  }
  return "x0" in target ? box("resized", x, y, x + width, y + height) : point("resized", x, y);
}

function cut(target: Target, scene: ZoomScene, config: ZoomConfig): Crop {
  if ("x0" in target) return cutTarget(target, scene, config);
  const tokenPx = tokenSide(scene.preprocessor);
  const result = zoom(scene.image, target, scene.view.resized, config, tokenPx);
  if (!result.ok) throw new Error(`zoom refused a checked point (${target.x}, ${target.y})`);
  return result.crop;
}

/** A box call shows the box itself, its longer side `outputPx` long. */
function cutTarget(target: Box<"resized">, scene: ZoomScene, config: ZoomConfig): Crop {
  const { image, view, preprocessor } = scene;
  const exact = resizedToOriginal(clip(target, view.resized), view.original, view.resized);
  const x0 = Math.floor(exact.x0);
  const y0 = Math.floor(exact.y0);
  const x1 = Math.max(x0 + 1, Math.ceil(exact.x1));
  const y1 = Math.max(y0 + 1, Math.ceil(exact.y1));
  const boxOriginal = box(
    "original",
    x0,
    y0,
    Math.min(x1, image.widthPx),
    Math.min(y1, image.heightPx),
  );
  const shown = originalToResized(boxOriginal, view.original, view.resized);
  const scale = config.outputPx / Math.max(shown.x1 - shown.x0, shown.y1 - shown.y0);
  const shortest = Math.ceil(config.outputPx / maxAspectRatio);
  const side = (length: number) => Math.max(shortest, Math.round(length * scale));
  const height = side(shown.y1 - shown.y0);
  const width = side(shown.x1 - shown.x0);
  const outputSize = smartResize(height, width, anyBudget(tokenSide(preprocessor)));
  return {
    image: resize(cutBox(image, boxOriginal), outputSize, "bicubic"),
    boxOriginal,
    outputSize,
  };
}
