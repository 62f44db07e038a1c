/**
 * Examples of `sft` from episodes and from files. The file keeps token ids and who chose them, and
 * images beside it by the hash of their pixels, so that what was sampled is what is trained on.
 */
import { readFile } from "node:fs/promises";
import { dirname } from "node:path";
import { z } from "zod";
import { forEachBounded, mapBounded } from "../core/bounded.ts";
import { VigorlError } from "../core/errors.ts";
import { ioError } from "../core/files.ts";
import { readJsonlAll, writeJsonl } from "../core/jsonl.ts";
import type { Chunk } from "../engine/types.ts";
import { decodeImage } from "../image/decode.ts";
import { toModelImage, type ModelImage } from "../image/model-image.ts";
import { pictureFile, writePicture } from "../image/picture-file.ts";
import type { PreprocessorConfig } from "../image/preprocessor-config.ts";
import { episodeToDatum } from "../task/trajectory.ts";
import type { ScoredEpisode } from "./rollouts.ts";
import type { SftExample } from "./sft.ts";

/** One line: parts in order; `trained` tokens are those that the assistant chose. */
export const exampleLineSchema = z.strictObject({
  version: z.literal(1),
  id: z.string(),
  category: z.string(),
  parts: z.array(
    z.union([
      z.strictObject({ trained: z.boolean(), tokens: z.array(z.int().min(0)).min(1) }),
      z.strictObject({ image: z.string() }),
    ]),
  ),
});

type ExampleLine = z.infer<typeof exampleLineSchema>;

/** The episode as an example: its own tokens are trained, those of prompt and environment not. */
export function exampleFromEpisode({ record, member, episode }: ScoredEpisode): SftExample {
  const { chunks, weights } = episodeToDatum(episode);
  return {
    id: `${record.id}#${member}`,
    category: record.category ?? "",
    chunks,
    mask_T: weights,
  };
}

/** Writes `file` (JSONL) and images/<hash>.png beside it. Throws VigorlError("io"). */
export async function writeExamples(file: string, examples: readonly SftExample[]): Promise<void> {
  const images = new Map<string, ModelImage>();
  for (const { chunks } of examples)
    for (const chunk of chunks)
      if (chunk.type === "image") images.set(chunk.image.hash, chunk.image);
  await forEachBounded(images.values(), picturesAtOnce, undefined, (image) =>
    writePicture(dirname(file), image),
  );
  await writeJsonl(file, examples.map(toLine));
}

/** Reads what `writeExamples` wrote. Throws VigorlError("input" | "io"), also for changed images. */
export async function readExamples(
  file: string,
  preprocessor: PreprocessorConfig,
): Promise<SftExample[]> {
  const lines = await readJsonlAll(file, exampleLineSchema);
  const hashes = lines.flatMap((line) =>
    line.parts.flatMap((part) => ("image" in part ? [part.image] : [])),
  );
  const images = await mapBounded([...new Set(hashes)], picturesAtOnce, undefined, (hash) =>
    readImage(file, hash, preprocessor),
  );
  const byHash = new Map(images.map((image) => [image.hash, image]));
  return lines.map((line) => fromLine(line, byHash));
}

const picturesAtOnce = 8;

function toLine({ id, category, chunks, mask_T }: SftExample): ExampleLine {
  const parts: ExampleLine["parts"] = [];
  let at = 0;
  for (const chunk of chunks) {
    if (chunk.type === "image") {
      parts.push({ image: chunk.image.hash });
      at += chunk.image.numTokens;
      continue;
    }
    let start = 0;
    for (let i = 1; i <= chunk.tokens.length; i++) {
      const trained = mask_T[at + start] !== 0;
      if (i < chunk.tokens.length && (mask_T[at + i] !== 0) === trained) continue;
      parts.push({ trained, tokens: chunk.tokens.slice(start, i) });
      start = i;
    }
    at += chunk.tokens.length;
  }
  return { version: 1, id, category, parts };
}

function fromLine(line: ExampleLine, images: ReadonlyMap<string, ModelImage>): SftExample {
  const chunks: Chunk[] = [];
  const mask: number[] = [];
  let tokens: number[] = [];
  const flush = (): void => {
    if (tokens.length > 0) chunks.push({ type: "text", tokens });
    tokens = [];
  };
  for (const part of line.parts) {
    if ("image" in part) {
      flush();
      const image = images.get(part.image)!;
      chunks.push({ type: "image", image });
      for (let i = 0; i < image.numTokens; i++) mask.push(0);
    } else {
      for (const token of part.tokens) {
        tokens.push(token);
        mask.push(part.trained ? 1 : 0);
      }
    }
  }
  flush();
  return { id: line.id, category: line.category, chunks, mask_T: Float32Array.from(mask) };
}

async function readImage(
  file: string,
  hash: string,
  preprocessor: PreprocessorConfig,
): Promise<ModelImage> {
  const path = pictureFile(dirname(file), hash);
  const bytes = await readFile(path).catch((error: unknown) => {
    throw ioError(error, path);
  });
  const pixels = await decodeImage(bytes, { name: path });
  const area = pixels.widthPx * pixels.heightPx;
  const image = toModelImage(pixels, { minPixels: area, maxPixels: area }, preprocessor);
  if (image.hash === hash) return image;
  throw new VigorlError("input", `${path}: its pixels are not those of the example`, {
    hint: "the file was changed; write the examples again",
  });
}
