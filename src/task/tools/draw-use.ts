/** Draws recorded tool uses, by each tool's own rule, on the record's image that it looked at. */
import { box, type Box, type Coordinates } from "../../image/frames.ts";
import type { RgbImage } from "../../image/decode.ts";
import { copyImage, imageCanvas, type Canvas } from "../../image/draw.ts";
import type { ToolUseLine } from "../lines.ts";
import { toOriginal, type PictureId, type PictureLine } from "../pictures.ts";
import { pointToResized } from "./place-args.ts";
import { toolOf } from "./table.ts";
import type { Trajectory } from "../trajectory.ts";
import type { ToolPlace } from "./tool.ts";

/** What is needed of an episode or of its trace. */
export interface Played {
  readonly pictures: readonly PictureLine[];
  readonly coordinates: Coordinates;
}

/** A copy of the first image of an episode with what its tools looked at. */
export function withUses(
  image: RgbImage,
  { pictures, toolUses, view }: Pick<Trajectory, "pictures" | "toolUses" | "view">,
): RgbImage {
  const result = copyImage(image);
  if (view === null) return result;
  const played = { pictures, coordinates: view.coordinates };
  for (const use of toolUses)
    if (drawnOn(use, played) === 0) drawUse(use, played, imageCanvas(result));
  return result;
}

/** The record's image on which a use is drawn; null where it failed or looked at none. */
export function drawnOn(use: ToolUseLine, { pictures }: Played): PictureId | null {
  if (use.fault !== null) return null;
  return pictures[use.gives ?? use.reads ?? -1]?.of ?? null;
}

/** Draws on a canvas in original pixels of that image. */
export function drawUse(use: ToolUseLine, played: Played, canvas: Canvas): void {
  const tool = use.tool === null ? undefined : toolOf(use.tool);
  tool?.draw({ place: placeOnRecord(use, played), shown: shownPart(use, played) }, canvas);
}

function shownPart({ gives }: ToolUseLine, { pictures }: Played): Box<"original"> | null {
  const picture = gives === null ? undefined : pictures[gives];
  return picture === undefined ? null : box("original", ...picture.box);
}

function placeOnRecord(
  { place, reads }: ToolUseLine,
  { pictures, coordinates }: Played,
): ToolPlace | null {
  const picture = reads === null ? undefined : pictures[reads];
  if (place === null || picture === undefined) return null;
  const bring = (x: number, y: number) =>
    toOriginal(pointToResized({ x, y }, { resized: picture, coordinates }), picture);
  if (place.kind === "point") {
    const { x, y } = bring(place.x, place.y);
    return { kind: "point", x, y };
  }
  const from = bring(place.x0, place.y0);
  const to = bring(place.x1, place.y1);
  return { kind: place.kind, x0: from.x, y0: from.y, x1: to.x, y1: to.y };
}
