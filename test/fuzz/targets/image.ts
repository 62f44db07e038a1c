/** Pictures in every form that is read, cut and changed, by the rules of any reader. */
import { readFileSync } from "node:fs";
import { decodeImage } from "../../../src/image/decode.ts";
import { fixturePath, readFixture } from "../../../src/image/fixtures/digest.ts";
import { readingNames } from "../../../src/image/reading.ts";
import { mutateBytes } from "../mutate.ts";
import type { Target } from "../target.ts";

const { files } = readFixture<{ files: { kind: string; length: number }[] }>("processors.json");
const all = readFileSync(fixturePath("processors.bin"));
const byKind = new Map<string, Uint8Array[]>();
let at = 0;
for (const { kind, length } of files) {
  const some = byKind.get(kind) ?? [];
  some.push(all.subarray(at, (at += length)));
  byKind.set(kind, some);
}
const kinds = [...byKind.values()];

export const image: Target = {
  name: "image",
  extension: ".img",
  input: (random) => mutateBytes(random.pick(random.pick(kinds)), random),
  run: (file, input) =>
    decodeImage(file, {
      maxPixels: 16_000_000,
      reading: readingNames[input.length % readingNames.length],
    }),
};
