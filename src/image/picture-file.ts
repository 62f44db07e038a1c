/**
 * Pictures that lie beside a file that names them by hash: `images/<hash>.png`, each once. Traces,
 * examples and exported chains keep theirs this way.
 */
import { existsSync } from "node:fs";
import { writeFileAtomic } from "../core/files.ts";
import { inside } from "../core/inside.ts";
import { encodePng } from "./decode.ts";
import type { ModelImage } from "./model-image.ts";

/** Where the picture of a hash lies. @throws VigorlError("input") where the hash is no file name. */
export function pictureFile(folder: string, hash: string): string {
  return inside(folder, "images", `${hash}.png`);
}

/** Writes a picture where it is not there yet. @throws VigorlError("io") */
export async function writePicture(folder: string, image: ModelImage): Promise<void> {
  const file = pictureFile(folder, image.hash);
  if (!existsSync(file)) await writeFileAtomic(file, await encodePng(image));
}
