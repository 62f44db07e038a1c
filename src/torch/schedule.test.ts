import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { learningRateAt, type Schedule } from "./schedule.ts";

describe("learning-rate schedules", () => {
  it("warms up, peaks and decays", () => {
    const cosine: Schedule = { kind: "cosine", peak: 1, totalSteps: 12, warmupSteps: 2 };
    expect(learningRateAt(0, cosine)).toBeCloseTo(1 / 3);
    expect(learningRateAt(2, cosine)).toBe(1);
    expect(learningRateAt(7, cosine)).toBeCloseTo(0.5);
    expect(learningRateAt(12, cosine)).toBeCloseTo(0);
    const linear: Schedule = { kind: "linear", peak: 2, totalSteps: 10, finalRatio: 0.1 };
    expect(learningRateAt(0, linear)).toBe(2);
    expect(learningRateAt(10, linear)).toBeCloseTo(0.2);
    const constant: Schedule = { kind: "constant", peak: 3, totalSteps: 10, warmupRatio: 0.25 };
    expect(learningRateAt(2, constant)).toBeCloseTo(2.25);
    expect(learningRateAt(3, constant)).toBe(3);
    expect(learningRateAt(99, constant)).toBe(3);
    expect(() => learningRateAt(0, { ...constant, warmupSteps: 1 })).toThrow("not both");
  });

  it("stays within (0, peak] before the end", () => {
    fc.assert(
      fc.property(
        fc.constantFrom("constant", "linear", "cosine"),
        fc.integer({ min: 1, max: 500 }),
        fc.double({ min: 0, max: 0.5, noNaN: true }),
        (kind, totalSteps, warmupRatio) => {
          for (let step = 0; step < totalSteps; step += 7) {
            const rate = learningRateAt(step, { kind, peak: 1, totalSteps, warmupRatio });
            expect(rate).toBeGreaterThan(0);
            expect(rate).toBeLessThanOrEqual(1);
          }
        },
      ),
    );
  });
});
