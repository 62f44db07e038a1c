import fc from "fast-check";
import { stateBytes } from "../../model/delta-states.ts";
import { expect, test } from "vitest";
import { GIB, sizesIn, type Situation } from "./sizes.ts";

const text = {
  vocabSize: 151_936,
  hiddenSize: 2048,
  intermediateSize: 11_008,
  numLayers: 36,
  numHeads: 16,
  numKeyValueHeads: 2,
  headDim: 128,
  maxPositions: 128_000,
  rmsNormEps: 1e-6,
  ropeTheta: 1e6,
  mropeSection: [16, 24, 24],
  mropeInterleaved: false,
  attentionBias: true,
  headNorms: false,
  rotaryDim: 128,
  centredNorms: false,
  outputGates: false,
} as const;

/** A 3B model in half precision. */
const large = (more: Partial<Situation> = {}): Situation => ({
  config: { text, storedDtype: "bfloat16" },
  numParameters: 3.75e9,
  device: "cuda:0",
  freeBytes: 80 * GIB,
  threads: 16,
  hasRows: () => false,
  cacheDtype: (dtype) => dtype,
  heldBytes: ({ weightsBytes }) => 2 * weightsBytes,
  folder: "qwen",
  ...more,
});
const small = (more: Partial<Situation> = {}): Situation => ({
  ...large({ device: "cpu", freeBytes: 20 * GIB, threads: 2, numParameters: 1.4e6 }),
  config: {
    text: { ...text, hiddenSize: 128, numLayers: 4, headDim: 32, maxPositions: 4096 },
    storedDtype: "bfloat16",
  },
  ...more,
});

test("a small model on a CPU samples in one thread a sampler, with all it allows", () => {
  expect(sizesIn(small(), {})).toMatchObject({
    dtype: "float32",
    samplers: 2,
    samplingThreads: 1,
    threads: 2,
    numSlots: 32,
    spareSlots: 32,
    maxPositions: 4096,
    tokensPerMicroBatch: 4096,
    featureBytes: GIB / 2,
  });
});

test("a large model on a GPU works in halves, and has room for a screenshot in every slot", () => {
  const sizes = sizesIn(large(), {});
  expect(sizes).toMatchObject({ dtype: "bfloat16", samplers: 1, samplingThreads: 16 });
  expect(sizes.numSlots).toBe(43);
  expect(sizes.maxPositions).toBeGreaterThanOrEqual(12_288);
});

test("a cache of rows has as many slots as short sequences fill, and any of them may be long", () => {
  const hasRows = (dtype: string): boolean => dtype === "bfloat16";
  const sizes = sizesIn(large({ hasRows }), {});
  expect(sizes).toMatchObject({ numSlots: 256, maxPositions: 128_000 });
  expect(sizes.maxCells).toBeGreaterThan(256 * 512);
  // All of them at once stay inside their memory, twice while they grow.
  const perPosition = text.numLayers * 2 * text.numKeyValueHeads * text.headDim * 2;
  expect(2 * perPosition * sizes.maxCells!).toBeLessThanOrEqual(sizes.cacheBytes);
  const short = sizesIn(large({ hasRows, freeBytes: 18 * GIB }), {});
  expect(short.numSlots).toBeLessThan(256);
  expect(short.maxPositions).toBe(short.maxCells);
  expect(() => sizesIn(large({ hasRows }), { cacheBytes: GIB, maxPositions: 128_000 })).toThrow(
    /1 slots of 128000 positions need .* engine.memory.cacheGiB allows 1.00/,
  );
  expect(sizesIn(large({ hasRows }), { dtype: "float32" }).maxCells).toBeUndefined();
});

test("where memory is short there are fewer slots, not shorter ones", () => {
  const sizes = sizesIn(large({ freeBytes: 24 * GIB }), {});
  expect(sizes.numSlots).toBeLessThan(16);
  expect(sizes.maxPositions).toBeGreaterThanOrEqual(12_288);
});

test("keys and values of all slots stay inside their memory", () => {
  fc.assert(
    fc.property(
      fc.integer({ min: 16, max: 400 }),
      fc.option(fc.integer({ min: 1, max: 64 }), { nil: undefined }),
      fc.option(fc.integer({ min: 256, max: 128_000 }), { nil: undefined }),
      fc.constantFrom("cuda:0", "cpu"),
      (gib, numSlots, maxPositions, device) => {
        const cacheBytes = gib * GIB;
        const situation = large({ freeBytes: 500 * GIB, device });
        let sizes;
        try {
          sizes = sizesIn(situation, { numSlots, maxPositions, cacheBytes });
        } catch (error) {
          expect(String(error)).toMatch(/engine\.memory\.cacheGiB allows/);
          return;
        }
        const perPosition = 36 * 2 * 2 * 128 * (device === "cpu" ? 4 : 2);
        expect(sizes.spareSlots).toBeGreaterThanOrEqual(0);
        const numHeld = sizes.numSlots + sizes.spareSlots;
        const held = numHeld * sizes.maxPositions * perPosition;
        expect(1.8 * held).toBeLessThanOrEqual(cacheBytes);
        expect(sizes.maxPositions).toBeLessThanOrEqual(text.maxPositions);
        if (numSlots !== undefined) expect(sizes.numSlots).toBe(numSlots);
        if (maxPositions !== undefined) expect(sizes.maxPositions).toBe(maxPositions);
      },
    ),
  );
});

test("states of delta nets take their part of the cache's memory", () => {
  const layers = Array.from({ length: 36 }, (_, i) => i % 4 !== 3);
  const heads = { numKeyHeads: 16, numValueHeads: 32, keyDim: 128, valueDim: 128, kernel: 4 };
  const hybrid = { ...text, delta: { layers, ...heads } };
  const config = { text: hybrid, storedDtype: "bfloat16" } as const;
  const state = stateBytes(hybrid, 2);
  // 27 nets: a memory of 32 × 128 × 128 in float32 each, and three rows of 8192.
  expect(state).toBe(27 * (32 * 128 * 128 * 4 + 3 * 8192 * 2));
  for (const byNeed of [true, false])
    for (const freeBytes of [40 * GIB, 60 * GIB, 120 * GIB]) {
      const sizes = sizesIn(large({ config, freeBytes, hasRows: () => byNeed }), {});
      const cells = sizes.maxCells ?? sizes.numSlots * sizes.maxPositions;
      const held = 1.8 * cells * 9 * 2 * 2 * 128 * 2 + 2 * sizes.numSlots * state;
      expect(sizes.numSlots).toBeGreaterThan(8);
      expect(held).toBeLessThanOrEqual(sizes.cacheBytes);
    }
  const asked = { numSlots: 64, maxPositions: 512, cacheBytes: 4 * GIB };
  expect(() => sizesIn(large({ config }), asked)).toThrow(/64 slots of 512 positions need 7\./);
});

test("what memory has left over keeps what was computed, within a bound", () => {
  const asked = { numSlots: 8, maxPositions: 512 };
  expect(sizesIn(small(), asked).spareSlots).toBe(24);
  expect(sizesIn(small(), { ...asked, maxPositions: 4096 }).spareSlots).toBe(24);
  expect(sizesIn(small({ freeBytes: GIB / 64 }), { ...asked, maxPositions: 4096 }).spareSlots).toBe(
    0,
  );
  expect(sizesIn(large(), asked).spareSlots).toBe(0);
});

test("on a CPU, halves are for sampling alone, and more is kept free for what is learned", () => {
  const cpu = large({ device: "cpu", freeBytes: 64 * GIB });
  expect(sizesIn(cpu, { learns: false }).dtype).toBe("bfloat16");
  expect(sizesIn(cpu, { learns: true }).dtype).toBe("float32");
  const heldBytes = ({ learns }: { learns: boolean }) => (learns ? 60 : 8) * GIB;
  const caches = [true, false].map(
    (learns) => sizesIn({ ...cpu, heldBytes }, { learns }).cacheBytes,
  );
  expect(caches).toEqual([3.2 * GIB, 28 * GIB]);
});

test("what does not fit is refused with the key that changes it", () => {
  expect(() => sizesIn(small(), { maxPositions: 5000 })).toThrow(
    "engine.maxPositions 5000: qwen allows 4096 positions",
  );
  expect(() => sizesIn(large({ freeBytes: 4 * GIB }), {})).toThrow(
    /its weights take 6\.98 GiB in bfloat16; cuda:0 has 4\.00 free/,
  );
  expect(() => sizesIn(large(), { maxWeightsBytes: 2 * GIB })).toThrow(
    /engine\.memory\.weightsGiB allows 2\.00/,
  );
  expect(() => sizesIn(large(), { cacheBytes: 1000 })).toThrow(/need .* GiB of cache/);
});
