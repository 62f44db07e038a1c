import { expect, test } from "vitest";
import { numPositions, type Chunk, type Datum } from "../engine/types.ts";
import { blankLike, toModelImage, type ModelImage } from "../image/model-image.ts";
import type { Learner } from "../engine/types.ts";
import {
  checkImages,
  gapsOf,
  joinGaps,
  ParityGate,
  requireBlindGap,
  requireSmallGaps,
  type ParityRecord,
} from "./parity.ts";
import { patches14 } from "../image/fixtures/preprocessor.ts";

const START = 90;
const END = 91;
const placeholders = { visionStartId: START, visionEndId: END, mergeSize: 2 };
const config = {
  enabled: true,
  maxGap: 0.02,
  minBlindRatio: 5,
  minBlindGap: 0.002,
  blindEpisodes: 4,
  blindEvery: 10,
};

function picture(level: number): ModelImage {
  const data = new Uint8Array(56 * 56 * 3).map((_, i) => (level * (i + 3)) % 256);
  return toModelImage(
    { widthPx: 56, heightPx: 56, data },
    { minPixels: 3136, maxPixels: 3136 },
    patches14,
  );
}

const first = picture(7);
const second = picture(11);

function trajectory(a: ModelImage, b: ModelImage): Chunk[] {
  return [
    { type: "text", tokens: [1, START] },
    { type: "image", image: a },
    { type: "text", tokens: [END, 2, 3, START] },
    { type: "image", image: b },
    { type: "text", tokens: [END, 4] },
  ];
}

function datum(chunks: Chunk[]): Datum {
  return { chunks, weights: new Float32Array(numPositions(chunks)) };
}

const length = numPositions(trajectory(first, second));
const record: ParityRecord = {
  id: "scene-12#3",
  imageHashes: [first.hash, second.hash],
  mask_T: new Float32Array(length).fill(1, length - 1),
  logprobs_T: new Float32Array(length).fill(-1, length - 1),
};

test("the trajectory as sampled passes, each image hashed once", () => {
  const same = datum(trajectory(first, second));
  expect(checkImages([record, record], [same, same], placeholders)).toBe(2);
});

test("blanked pixels are found, also under the old hash", () => {
  const blank = { ...first, data: new Uint8Array(first.data.length) };
  for (const image of [blank, blankLike(first)]) {
    const bad = datum(trajectory(image, second));
    expect(() => checkImages([record], [bad], placeholders)).toThrow(
      "parity: scene-12#3: in the place of image 1 the learner gets other pixels",
    );
  }
});

test("swapped, missing and displaced images are found", () => {
  const check = (chunks: Chunk[]) => () => checkImages([record], [datum(chunks)], placeholders);
  expect(check(trajectory(second, first))).toThrow(
    "in the place of image 1 the learner gets image 2",
  );
  expect(check(trajectory(first, second).slice(0, 3))).toThrow("saw 2 images, the learner gets 1");
  const shifted = trajectory(first, second);
  shifted[0] = { type: "text", tokens: [1] };
  shifted[2] = { type: "text", tokens: [START, END, 2, 3, START] };
  expect(check(shifted)).toThrow("chunk 2, an image, does not stand at its placeholder");
  const fewer = { ...first, numTokens: 3 };
  expect(check(trajectory(fewer, second))).toThrow("image 1 of grid 4×4 has 3 placeholders, not 4");
});

test("a gap is measured over trained tokens and named with its episode", () => {
  const learner = new Float32Array(length).fill(-1.5, length - 1).fill(7, 0, 3);
  const [gap] = gapsOf([record], [learner]);
  expect(gap).toEqual({ mean: 0.5, max: 0.5, numTokens: 1 });
  expect(() => requireSmallGaps([record], [gap], config)).toThrow(
    "parity: scene-12#3: sampler and learner disagree by 0.5000 nats a token",
  );
  expect(() =>
    requireSmallGaps([record], [{ mean: 0.01, max: 3, numTokens: 9 }], config),
  ).not.toThrow();
  expect(() => gapsOf([record], [new Float32Array(3)])).toThrow("speaks of 3 positions");
  const nan = new Float32Array(length).fill(NaN);
  expect(() => gapsOf([record], [nan])).toThrow(`position ${length - 1} is NaN`);
});

test("a learner that does not look at the pixels is found", () => {
  const gap = (mean: number) => ({ mean, max: mean, numTokens: 10 });
  expect(() => requireBlindGap(gap(1e-6), gap(0.3), config)).not.toThrow();
  expect(() => requireBlindGap(gap(1e-6), gap(1e-4), config)).toThrow(
    "does not look at the images",
  );
  expect(() => requireBlindGap(gap(0.01), gap(0.03), config)).toThrow("expected at least 0.05");
  expect(joinGaps([gap(1), { mean: 3, max: 5, numTokens: 30 }])).toEqual({
    mean: 2.5,
    max: 5,
    numTokens: 40,
  });
});

test("hashes of both sides of the wire are compared, whatever the trainer itself holds", () => {
  const same = datum(trajectory(first, second));
  const check = (hashes: string[]) => () => checkImages([record], [same], placeholders, [hashes]);
  expect(check([first.hash, second.hash])()).toBe(2);
  expect(check([first.hash, "0".repeat(32)])).toThrow(
    "in the place of image 2 the learner gets other pixels",
  );
});

const scene = datum(trajectory(first, second));
const logprobs = (value: number) => new Float32Array(length).fill(value, length - 1);

/** A gate over a learner that says `anew` with the tower run again, and `blind` without pixels. */
function gateOver(anew: number, blind: number) {
  const warnings: string[] = [];
  const asked: unknown[] = [];
  const learner = {
    forward: (data: readonly Datum[], how: { blind?: boolean }) => {
      asked.push(how);
      const value = logprobs(how.blind === true ? blind : anew);
      return Promise.resolve(data.map(() => ({ logprobs: value, entropy: value })));
    },
  } as unknown as Learner;
  const gate = new ParityGate(learner, config, placeholders, (text) => warnings.push(text));
  const check = (step: number, said: number, old?: number) =>
    gate.check({
      step,
      records_N: [record],
      data_N: [scene],
      outputs_N: [{ logprobs: logprobs(said), entropy: logprobs(0) }],
      ...(old === undefined ? {} : { oldLogprobs_N: [logprobs(old)] }),
    });
  return { gate, check, warnings, asked };
}

test("the gate stops the first time, later it warns once and stops at the second failure", async () => {
  await expect(gateOver(-1, -3).check(1, -1.5)).rejects.toThrow("disagree by 0.5000 nats");
  const { gate, check, warnings } = gateOver(-1, -3);
  await check(1, -1);
  expect(gate.takeMetrics()).toMatchObject({ "parity/blindGap": 2, "parity/images": 2 });
  await check(2, -1.5);
  expect(warnings).toEqual([expect.stringContaining("step 2: parity: scene-12#3: sampler and")]);
  expect(gate.takeMetrics()).toMatchObject({ "parity/gapMean": 0.5 });
  await check(3, -1);
  await check(4, -1.5);
  await expect(check(5, -1.5)).rejects.toThrow("disagree");
});

test("kept features that no longer fit the pixels are found where the tower runs again", async () => {
  await expect(gateOver(-1.4, -3).check(1, -1)).rejects.toThrow("disagree by 0.4000 nats");
});

test("what is read again follows the number of the step, so that a resumed run says the same", async () => {
  const { gate, check, asked } = gateOver(-1, -3);
  for (let step = 1; step <= 12; step++) await check(step, -1);
  expect(asked).toEqual([{ anew: true }, { blind: true }, { anew: true }, { blind: true }]);
  expect([1, 11, 21].map((step) => gate.updateToCheck(step, 16, 5))).toEqual([0, 0, 0]);
  const later = Array.from({ length: 40 }, (_, i) => gate.updateToCheck(i + 2, 16, 5));
  expect(new Set(later).size).toBeGreaterThan(8);
  expect(Math.max(...later)).toBeLessThan(16);
  const other = gateOver(-1, -3).gate;
  expect(Array.from({ length: 40 }, (_, i) => other.updateToCheck(i + 2, 16, 5))).toEqual(later);
});

test("behind moved weights the gap is that of the log-probabilities from before", async () => {
  const { gate, check } = gateOver(-1, -3);
  await check(2, -1.5, -1);
  expect(gate.takeMetrics()["parity/gapMean"]).toBe(0);
});
