import { mkdtemp, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { expect, test } from "vitest";
import { encodePng } from "../image/decode.ts";
import { toModelImage } from "../image/model-image.ts";
import { readExamples, writeExamples } from "./examples.ts";
import type { Transcript } from "../task/trajectory.ts";
import { patches14 } from "../image/fixtures/preprocessor.ts";

const pixels = { widthPx: 56, heightPx: 28, data: new Uint8Array(56 * 28 * 3).map((_, i) => i) };
const image = toModelImage(pixels, { minPixels: 1568, maxPixels: 1568 }, patches14);

const example: Transcript = {
  id: "a#0",
  task: "search",
  category: "digit",
  chunks: [
    { type: "text", author: "prompt", turn: 0, tokens: [1, 2] },
    { type: "image", author: "prompt", turn: 0, picture: 0, image },
    { type: "text", author: "model", turn: 0, tokens: [3, 4, 5] },
    { type: "text", author: "environment", turn: 0, tokens: [6] },
    { type: "text", author: "forced", turn: 1, tokens: [7] },
    { type: "text", author: "model", turn: 1, tokens: [8] },
  ],
};

test("examples come back as they were, with their images", async () => {
  const file = join(await mkdtemp(join(tmpdir(), "vigorl-examples-")), "sft.jsonl");
  await writeExamples(file, [example, { ...example, id: "b#1" }]);
  const read = await readExamples(file, patches14);
  expect(read.map((one) => one.id)).toEqual(["a#0", "b#1"]);
  expect(read[0]).toEqual(example);

  const other = await encodePng({ ...pixels, data: new Uint8Array(pixels.data.length) });
  await writeFile(join(file, "..", "images", `${image.hash}.png`), other);
  await expect(readExamples(file, patches14)).rejects.toThrow(
    "its pixels are not those of the example",
  );
});
