/**
 * Prompts that both sides of a benchmark read: an image of random pixels and a question. New ones for every
 * round, so that nothing is left over from the last.
 */
import { writeFile } from "node:fs/promises";
import { stream } from "../src/core/random.ts";
import type { Chunk } from "../src/engine/types.ts";
import { patches, toModelImage } from "../src/image/model-image.ts";
import { nanoPreprocessor } from "../src/nano/world.ts";
import type { Tokenizer } from "../src/text/tokenizer.ts";

/** @param sidePx of the square image */
export function promptsOf(
  tokenizer: Tokenizer,
  { round, count, sidePx }: { round: number; count: number; sidePx: number },
): Chunk[][] {
  const random = stream(1, "rollout", round);
  return Array.from({ length: count }, (_, p) => {
    const data = Uint8Array.from({ length: sidePx * sidePx * 3 }, () => random.int(0, 255));
    const budget = { minPixels: sidePx * sidePx, maxPixels: sidePx * sidePx };
    const pixels = { widthPx: sidePx, heightPx: sidePx, data };
    const question = `Which digit is on the red star number ${round * count + p}?`;
    return [
      { type: "text", tokens: tokenizer.encode("<|im_start|>user\n<|vision_start|>") },
      { type: "image", image: toModelImage(pixels, budget, nanoPreprocessor) },
      {
        type: "text",
        tokens: tokenizer.encode(`<|vision_end|>${question}<|im_end|>\n<|im_start|>assistant\n`),
      },
    ];
  });
}

/** Writes prompts as token ids with their placeholders, `path`.json, and the patches of all images, `path`.f32. */
export async function writePrompts(
  path: string,
  prompts: readonly (readonly Chunk[])[],
  { imagePadId }: Tokenizer,
): Promise<void> {
  const pixels: Buffer[] = [];
  const ids = prompts.map((prompt) =>
    prompt.flatMap((chunk) => {
      if (chunk.type === "text") return chunk.tokens;
      pixels.push(Buffer.from(patches(chunk.image, nanoPreprocessor).buffer));
      return Array.from({ length: chunk.image.numTokens }, () => imagePadId);
    }),
  );
  const grids = prompts.flatMap((prompt) =>
    prompt.flatMap((chunk) =>
      chunk.type === "text" ? [] : [[1, chunk.image.grid.h, chunk.image.grid.w]],
    ),
  );
  await writeFile(`${path}.json`, JSON.stringify({ ids, grids }));
  await writeFile(`${path}.f32`, Buffer.concat(pixels));
}
