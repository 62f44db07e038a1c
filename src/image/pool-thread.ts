/** The inside of a thread of the pool: a picture in, the picture at the model's size out. */
import { parentPort } from "node:worker_threads";
import { VigorlError } from "../core/errors.ts";
import { decodeImage, type RgbImage } from "./decode.ts";
import { toModelImage } from "./model-image.ts";
import type { PictureJob, PictureReply, ReadPicture } from "./pool.ts";

async function read(job: PictureJob): Promise<PictureReply> {
  try {
    const image = await decodeImage(job.bytes, job.decode);
    const seen = toModelImage(image, job.budget, job.preprocessor);
    return { seen, pixels: job.keepsPixels === true ? own(image) : null };
  } catch (error) {
    const message = error instanceof Error ? error.message : String(error);
    const isOurs = error instanceof VigorlError;
    const [code, hint] = isOurs ? [error.code, error.hint] : [null, undefined];
    return { error: { code, message, hint } };
  }
}

/** A copy that can be handed over: memory of the decoder's would be copied by the thread that gets it. */
function own(image: RgbImage): RgbImage {
  return { ...image, data: new Uint8Array(image.data) };
}

/** A picture that has its size already shares its pixels. */
function buffersOf({ seen, pixels }: ReadPicture): ArrayBuffer[] {
  return [seen, ...(pixels === null ? [] : [pixels])].map(({ data }) => data.buffer as ArrayBuffer);
}

parentPort?.on("message", (job: PictureJob) => {
  void read(job).then((reply) => {
    parentPort?.postMessage(reply, [...new Set("seen" in reply ? buffersOf(reply) : [])]);
  });
});
