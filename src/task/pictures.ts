/**
 * The pictures of an episode: one numbered list, the record's images first, then what tools returned.
 * Each has its pixels, the form in which the model sees it, and its place on the record's image that
 * it shows, so that whatever is said of it can be brought back there.
 *
 * Frames: "resized" is the picture as the model sees it, "original" the record's image.
 */
import type { RgbImage } from "../image/decode.ts";
import {
  box,
  cropToOriginal,
  originalToResized,
  point,
  type Box,
  type Point,
  type Size,
} from "../image/frames.ts";
import { toModelImage, type ModelImage, type PixelBudget } from "../image/model-image.ts";
import type { PreprocessorConfig } from "../image/preprocessor-config.ts";

/** Place of a picture in its episode, from 0. */
export type PictureId = number;

export interface Picture {
  readonly id: PictureId;
  /** The tool that returned it, and in which turn; null for images of the record. */
  readonly tool: string | null;
  readonly turn: number | null;
  readonly seen: ModelImage;
  /** What it shows at the record's own resolution: later crops are cut from it. */
  readonly pixels: () => RgbImage;
  /** The record's image that it shows, and which part of it. */
  readonly of: PictureId;
  readonly box: Box<"original">;
}

/** A picture without its pixels, as trajectories, traces and trees keep it. */
export interface PictureLine {
  readonly id: PictureId;
  readonly tool: string | null;
  readonly turn: number | null;
  /** Of the pixels that the model saw. */
  readonly imageHash: string;
  /** As the model sees it. */
  readonly widthPx: number;
  readonly heightPx: number;
  readonly of: PictureId;
  readonly box: readonly [x0: number, y0: number, x1: number, y1: number];
}

/** A place on an image of the record, in the frame in which the model sees that image. */
export interface RecordPlace {
  readonly picture: PictureId;
  readonly x: number;
  readonly y: number;
}

/** The images of a record as pictures. @throws VigorlError("input") for aspect ratios above 200. */
export function recordPictures(
  images: readonly RgbImage[],
  budget: PixelBudget,
  preprocessor: PreprocessorConfig,
): Picture[] {
  return images.map((image, id) =>
    recordPicture(id, image, toModelImage(image, budget, preprocessor)),
  );
}

/** Image `id` of a record, with the form in which the model sees it. */
export function recordPicture(id: PictureId, image: RgbImage, seen: ModelImage): Picture {
  const whole = box("original", 0, 0, image.widthPx, image.heightPx);
  return { id, tool: null, turn: null, seen, pixels: () => image, of: id, box: whole };
}

export function pictureLine({ id, tool, turn, seen, of, box: at }: Picture): PictureLine {
  const { hash, widthPx, heightPx } = seen;
  const place = [at.x0, at.y0, at.x1, at.y1] as const;
  return { id, tool, turn, imageHash: hash, widthPx, heightPx, of, box: place };
}

/** An image that has its size already, as the model sees it. */
export function seenAsIs(image: RgbImage, preprocessor: PreprocessorConfig): ModelImage {
  return toModelImage(image, { minPixels: 1, maxPixels: 2 ** 31 }, preprocessor);
}

/** Brings a place in a picture to the record's image that it shows. */
export function onRecord(
  at: Point<"resized">,
  picture: Picture,
  pictures: readonly Picture[],
): RecordPlace {
  if (picture.id === picture.of) return { picture: picture.id, x: at.x, y: at.y };
  const shown = pictures[picture.of];
  const crop = { boxOriginal: picture.box, outputSize: picture.seen };
  const original = cropToOriginal(point("crop", at.x, at.y), crop);
  const { x, y } = originalToResized(original, sizeOf(shown.box), shown.seen);
  return { picture: picture.of, x, y };
}

/** As `onRecord`, from what is kept of a picture, to original pixels of the record's image. */
export function toOriginal(
  at: { readonly x: number; readonly y: number },
  { box: [x0, y0, x1, y1], widthPx, heightPx }: PictureLine,
): Point<"original"> {
  const crop = {
    boxOriginal: box("original", x0, y0, x1, y1),
    outputSize: { widthPx, heightPx },
  };
  return cropToOriginal(point("crop", at.x, at.y), crop);
}

/** Brings a part of a picture's own pixels to the record's image. */
export function partOfRecord(part: Box<"original">, { box: at }: Picture): Box<"original"> {
  return box("original", at.x0 + part.x0, at.y0 + part.y0, at.x0 + part.x1, at.y0 + part.y1);
}

/**
 * What two crops of an episode share, as a part of the smaller one: the mean over all pairs, in [0, 1].
 * Crops of different images share nothing. Null where tools returned fewer than two pictures.
 */
export function cropOverlap(pictures: readonly PictureLine[]): number | null {
  const crops = pictures.filter(({ tool }) => tool !== null);
  const shared = crops.flatMap((one, i) =>
    crops.slice(i + 1).map((other) => {
      if (one.of !== other.of) return 0;
      const [a0, b0, a1, b1] = one.box;
      const [c0, d0, c1, d1] = other.box;
      const width = Math.max(0, Math.min(a1, c1) - Math.max(a0, c0));
      const height = Math.max(0, Math.min(b1, d1) - Math.max(b0, d0));
      const smaller = Math.min((a1 - a0) * (b1 - b0), (c1 - c0) * (d1 - d0));
      return smaller > 0 ? (width * height) / smaller : 0;
    }),
  );
  if (shared.length === 0) return null;
  return shared.reduce((sum, part) => sum + part, 0) / shared.length;
}

function sizeOf({ x0, y0, x1, y1 }: Box<"original">): Size {
  return { widthPx: x1 - x0, heightPx: y1 - y0 };
}
