/**
 * The pictures of a request, out of their data URLs and into the size the model sees, in threads of their
 * own. What they are going to take is looked at before it is taken: sizes are read from their headers.
 */
import { imageSize } from "../image/decode.ts";
import { webFormats } from "../image/formats.ts";
import type { PixelBudget } from "../image/model-image.ts";
import type { PictureJob, PicturePool, ReadPicture } from "../image/pool.ts";
import { tokenSide, type PreprocessorConfig } from "../image/preprocessor-config.ts";
import { smartResize } from "../image/smart-resize.ts";
import { ApiError } from "./api-error.ts";
import type { Budget, Share } from "./budget.ts";
import { dataUrlBytes } from "./data-url.ts";

export interface ImageLimits {
  /** Images in one request. */
  readonly maxImages: number;
  /** Pixels of one image before it is resized. */
  readonly maxImagePixels: number;
}

export interface PictureDesk {
  readonly limits: ImageLimits;
  readonly pool: PicturePool;
  /** Pixels that wait to be decoded. */
  readonly pixels: Budget;
  readonly preprocessor: PreprocessorConfig;
}

/** A picture as a request brings it. */
export interface GivenImage {
  readonly url: string;
  /** The area that it is brought into. */
  readonly budget: PixelBudget;
}

/**
 * @param share takes the bytes that the pictures hold
 * @param keepsPixels for who is going to look closer
 * @throws ApiError 400, 413 or 503, VigorlError("input") for what is no picture
 */
export async function readPictures(
  given: readonly GivenImage[],
  { limits, pool, pixels, preprocessor }: PictureDesk,
  share: Share,
  signal: AbortSignal,
  keepsPixels = false,
): Promise<ReadPicture[]> {
  if (given.length > limits.maxImages)
    throw new ApiError(400, `${given.length} images, this server takes ${limits.maxImages}`);
  const jobs: PictureJob[] = [];
  const waiting = pixels.share();
  try {
    for (const [i, { url, budget }] of given.entries()) {
      const name = `image ${i + 1}`;
      const bytes = dataUrlBytes(url, name);
      const { reading = "own" } = budget;
      const decode = { name, maxPixels: limits.maxImagePixels, formats: webFormats, reading };
      const size = await imageSize(bytes, decode);
      waiting.take(size.widthPx * size.heightPx);
      const factor = tokenSide(preprocessor);
      const seen = smartResize(size.heightPx, size.widthPx, { factor, ...budget });
      share.take(3 * seen.widthPx * seen.heightPx);
      if (keepsPixels) share.take(3 * size.widthPx * size.heightPx);
      jobs.push({ bytes, decode, budget, preprocessor, keepsPixels });
    }
    return await Promise.all(jobs.map((job) => pool.read(job, signal)));
  } finally {
    waiting.free();
  }
}
