/** The inside of a thread of the pool: a picture in, the picture at the model's size out. */
import { parentPort } from "node:worker_threads";
import { VigorlError } from "../core/errors.ts";
import { decodeImage } from "./decode.ts";
import { toModelImage } from "./model-image.ts";
import type { PictureJob, PictureReply } from "./pool.ts";

async function read(job: PictureJob): Promise<PictureReply> {
  try {
    const image = await decodeImage(job.bytes, job.decode);
    return { image: toModelImage(image, job.budget, job.preprocessor) };
  } catch (error) {
    const message = error instanceof Error ? error.message : String(error);
    const isOurs = error instanceof VigorlError;
    const [code, hint] = isOurs ? [error.code, error.hint] : [null, undefined];
    return { error: { code, message, hint } };
  }
}

parentPort?.on("message", (job: PictureJob) => {
  void read(job).then((reply) => {
    const pixels = "image" in reply ? [reply.image.data.buffer as ArrayBuffer] : [];
    parentPort?.postMessage(reply, pixels);
  });
});
