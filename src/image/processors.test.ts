/**
 * 200 files through our decoder, resizing and patches, against what transformers' processors and
 * qwen-vl-utils make of them: equal pixel for pixel, or of a kind that docs/pixels.md lists.
 */
import { readFileSync } from "node:fs";
import { describe, expect, test } from "vitest";
import { VigorlError } from "../core/errors.ts";
import { decodeImage } from "./decode.ts";
import { fixturePath, readFixture, sha256 } from "./fixtures/digest.ts";
import { toModelImage } from "./model-image.ts";
import type { PreprocessorConfig } from "./preprocessor-config.ts";
import { readingNames, type ReadingName } from "./reading.ts";

type Seen = [widthPx: number, heightPx: number, sha256: string] | null;
interface File {
  kind: string;
  length: number;
  qwen2_5_vl: Record<string, Seen>;
  qwen3_vl: Record<string, Seen>;
}

const { versions, files } = readFixture<{ versions: Record<string, string>; files: File[] }>(
  "processors.json",
);
const bytes = readFileSync(fixturePath("processors.bin"));
const base = { temporalPatchSize: 2, mergeSize: 2, imageMean: [0, 0, 0], imageStd: [1, 1, 1] };
const processors = {
  qwen2_5_vl: { ...base, patchSize: 14, minPixels: 3136, maxPixels: 12_845_056 },
  qwen3_vl: { ...base, patchSize: 16, minPixels: 65_536, maxPixels: 16_777_216 },
} as unknown as Record<"qwen2_5_vl" | "qwen3_vl", PreprocessorConfig>;

interface Held {
  /** The reader of the references that our reading is held against. */
  readonly reader: string;
  /** How many of the files are equal, by processor. */
  readonly equal: Record<keyof typeof processors, number>;
  /** Kinds of which some or all files differ. */
  readonly differs: readonly string[];
}

const held: Record<ReadingName, Held> = {
  own: {
    reader: "opened",
    equal: { qwen2_5_vl: 160, qwen3_vl: 168 },
    differs: ["16-bit grey", "AVIF", "YCbCr TIFF", "thin", "turned"],
  },
  "qwen-vl-utils": {
    reader: "utils",
    equal: { qwen2_5_vl: 181, qwen3_vl: 180 },
    differs: ["AVIF", "YCbCr TIFF", "transparent GIF", "transparent colour"],
  },
  transformers: {
    reader: "path",
    equal: { qwen2_5_vl: 180, qwen3_vl: 180 },
    differs: ["AVIF", "YCbCr TIFF", "transparent GIF", "transparent colour"],
  },
};

async function seenBy(
  file: Uint8Array,
  reading: ReadingName,
  config: PreprocessorConfig,
): Promise<Seen> {
  try {
    const image = toModelImage(
      await decodeImage(file, { reading }),
      { ...config, reading },
      config,
    );
    return [image.widthPx, image.heightPx, sha256(image.data)];
  } catch (error) {
    if (error instanceof VigorlError && /aspect ratio/.test(error.message)) return null;
    throw error;
  }
}

describe(`transformers ${versions.transformers}, qwen-vl-utils ${versions["qwen-vl-utils"]}`, () => {
  for (const reading of readingNames)
    test.each(["qwen2_5_vl", "qwen3_vl"] as const)(`${reading}, %s`, async (name) => {
      const { reader, equal, differs } = held[reading];
      const different = new Set<string>();
      let numEqual = 0;
      let at = 0;
      for (const file of files) {
        const data = bytes.subarray(at, (at += file.length));
        const seen = await seenBy(data, reading, processors[name]);
        if (JSON.stringify(seen) === JSON.stringify(file[name][reader])) numEqual++;
        else different.add(file.kind);
      }
      expect(files).toHaveLength(200);
      expect([...different].filter((kind) => !differs.includes(kind))).toEqual([]);
      expect(numEqual).toBe(equal[name]);
    });
});
