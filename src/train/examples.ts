/**
 * Transcripts in a file: token ids with who wrote them, and images beside it by the hash of their
 * pixels, so that what was sampled is what is trained on.
 */
import { readFile } from "node:fs/promises";
import { dirname } from "node:path";
import { z } from "zod";
import { forEachBounded, mapBounded } from "../core/bounded.ts";
import { VigorlError } from "../core/errors.ts";
import { ioError } from "../core/files.ts";
import { readJsonlAll, writeJsonl } from "../core/jsonl.ts";
import { decodeImage } from "../image/decode.ts";
import { toModelImage, type ModelImage } from "../image/model-image.ts";
import { pictureFile, writePicture } from "../image/picture-file.ts";
import type { PreprocessorConfig } from "../image/preprocessor-config.ts";
import type { AuthoredChunk, Transcript } from "../task/trajectory.ts";

const place = { turn: z.int() };
const byOthers = z.enum(["prompt", "environment"]);

/** One line: parts in order. Tokens of author "model" are trained. */
export const exampleLineSchema = z.strictObject({
  version: z.literal(2),
  id: z.string(),
  task: z.string(),
  category: z.string(),
  parts: z.array(
    z.union([
      z.strictObject({
        author: z.enum(["prompt", "model", "environment", "forced"]),
        ...place,
        tokens: z.array(z.int().min(0)),
      }),
      z.strictObject({ author: byOthers, ...place, picture: z.int().min(0), image: z.string() }),
    ]),
  ),
});

type ExampleLine = z.infer<typeof exampleLineSchema>;

/** Writes `file` (JSONL) and images/<hash>.png beside it. Throws VigorlError("io"). */
export async function writeExamples(file: string, examples: readonly Transcript[]): Promise<void> {
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
): Promise<Transcript[]> {
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

function toLine({ id, task, category, chunks }: Transcript): ExampleLine {
  const parts = chunks.map((chunk): ExampleLine["parts"][number] => {
    const { author, turn } = chunk;
    if (chunk.type === "image") {
      const { picture, image } = chunk;
      return { author: chunk.author, turn, picture, image: image.hash };
    }
    return { author, turn, tokens: [...chunk.tokens] };
  });
  return { version: 2, id, task, category, parts };
}

function fromLine(
  { id, task, category, parts }: ExampleLine,
  images: ReadonlyMap<string, ModelImage>,
): Transcript {
  const chunks = parts.map((part): AuthoredChunk => {
    const { turn } = part;
    if (!("image" in part)) return { type: "text", author: part.author, turn, tokens: part.tokens };
    const { author, picture } = part;
    return { type: "image", author, turn, picture, image: images.get(part.image)! };
  });
  return { id, task, category, chunks };
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
