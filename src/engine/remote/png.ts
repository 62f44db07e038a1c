/** Images on the wire: PNG of the very pixels that the model is meant to see. */
import { encodePng } from "../../image/decode.ts";
import type { ModelImage } from "../../image/model-image.ts";

/** Encoded once an image, however many turns, siblings and steps show it. */
const known = new WeakMap<ModelImage, Promise<Uint8Array>>();

export function pngOf(image: ModelImage): Promise<Uint8Array> {
  const before = known.get(image);
  if (before !== undefined) return before;
  const made = encodePng(image);
  known.set(image, made);
  return made;
}
