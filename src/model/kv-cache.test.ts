/** A cache of rows: slots by need. */
import { expect, test } from "vitest";
import { scope } from "../torch/scope.ts";
import { KvCache } from "./kv-cache.ts";

const sizes = {
  vocabSize: 8,
  hiddenSize: 16,
  intermediateSize: 16,
  numLayers: 2,
  numHeads: 2,
  numKeyValueHeads: 1,
  headDim: 8,
  maxPositions: 8000,
  rmsNormEps: 1e-6,
  ropeTheta: 1e4,
  mropeSection: [2, 1, 1],
  mropeInterleaved: false,
  attentionBias: false,
  headNorms: false,
  rotaryDim: 8,
  centredNorms: false,
  outputGates: false,
} as const;

test("the longer the sequences, the fewer slots there are, and what is left keeps what it holds", () => {
  const cache = new KvCache(sizes, {
    numSlots: 8,
    maxPositions: 8000,
    maxCells: 8 * 1024,
    dtype: "float32",
    device: "cpu",
    form: "rows",
  });
  expect([cache.capacity, cache.numOpen]).toEqual([1024, 8]);
  scope(() =>
    cache
      .rows(1)
      .narrow(0, 4 * 1024 + 7, 1)
      .fill_(3),
  );
  expect(cache.openWith(1500)).toBe(5);
  expect(cache.openWith(1000)).toBe(8);
  cache.checkRoom(1500);
  expect([cache.capacity, cache.numOpen]).toEqual([1536, 5]);
  const held = scope(() =>
    cache
      .rows(1)
      .narrow(0, 4 * 1536 + 7, 1)
      .toNumbers(),
  );
  expect(held).toEqual(Array.from({ length: 16 }, () => 3));
  expect(cache.openWith(8000)).toBe(1);
  expect(cache.openAnew(900)).toBe(8);
  cache.restart(900);
  expect([cache.capacity, cache.numOpen]).toEqual([1024, 8]);
  expect(() => cache.checkRoom(8001)).toThrow("does not fit");
  cache.dispose();
});
