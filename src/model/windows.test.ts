import fc from "fast-check";
import { describe, expect, it } from "vitest";
import type { VisionConfig } from "./config.ts";
import type { Grid } from "./rope.ts";
import { inverseOrder, planWindows } from "./windows.ts";

const config: VisionConfig = {
  depth: 1,
  hiddenSize: 8,
  intermediateSize: 8,
  numHeads: 1,
  inChannels: 3,
  patchSize: 14,
  temporalPatchSize: 2,
  spatialMergeSize: 2,
  windowSize: 112,
  outHiddenSize: 8,
  fullAttentionBlocks: [],
  ropeTheta: 1e4,
  patchBias: false,
  positionsSide: 0,
  norm: "rms",
  mlp: "swiglu",
  deepstackBlocks: [],
};
const side = fc.integer({ min: 1, max: 13 }).map((n) => 2 * n);
const grid = fc.record({ t: fc.constant(1), h: side, w: side });

describe("planWindows", () => {
  it("leaves images of one window alone", () => {
    const grids: Grid[] = [
      { t: 1, h: 8, w: 8 },
      { t: 1, h: 2, w: 6 },
    ];
    const plan = planWindows(grids, config);
    expect(plan.identity).toBe(true);
    expect(plan.windowLengths).toEqual([64, 12]);
    expect(plan.windowLengths).toEqual(plan.imageLengths);
    expect(plan.rows.slice(0, 6)).toEqual(Int32Array.of(0, 0, 1, 1, 0, 0));
    expect(plan.columns.slice(0, 6)).toEqual(Int32Array.of(0, 1, 0, 1, 2, 3));
  });

  it("is a permutation that keeps windows within 8×8 patches, and can be undone", () => {
    fc.assert(
      fc.property(fc.array(grid, { minLength: 1, maxLength: 4 }), (grids) => {
        const plan = planWindows(grids, config);
        const numPatches = grids.reduce((sum, { h, w }) => sum + h * w, 0);
        expect(plan.windowLengths.reduce((a, b) => a + b, 0)).toBe(numPatches);
        expect(plan.imageLengths.reduce((a, b) => a + b, 0)).toBe(numPatches);
        expect(plan.order.length * 4).toBe(numPatches);
        const inverse = inverseOrder(plan.order);
        for (let i = 0; i < inverse.length; i++) expect(plan.order[inverse[i]]).toBe(i);
        let at = 0;
        for (const length of plan.windowLengths) {
          expect(length).toBeGreaterThan(0);
          for (const axis of [plan.rows, plan.columns]) {
            const blocks = axis.slice(at, at + length).map((p) => Math.floor(p / 8));
            expect(new Set(blocks).size).toBe(1);
          }
          at += length;
        }
      }),
    );
  });
});
