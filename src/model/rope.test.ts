import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { mropePositions, numImageTokens, rotaryBlock, type Span } from "./rope.ts";

const image = (h: number, w: number): Span => ({ type: "image", grid: { t: 1, h, w } });
const text = (length: number): Span => ({ type: "text", length });
const span = fc.oneof(
  fc.nat(12).map(text),
  fc
    .tuple(fc.integer({ min: 1, max: 6 }), fc.integer({ min: 1, max: 6 }))
    .map(([h, w]) => image(2 * h, 2 * w)),
);

describe("mropePositions", () => {
  it("counts text on all axes and lays images out in rows and columns", () => {
    const { axes, next } = mropePositions([text(2), image(4, 6), text(2)], 2);
    expect([...axes[0]]).toEqual([0, 1, 2, 2, 2, 2, 2, 2, 5, 6]);
    expect([...axes[1]]).toEqual([0, 1, 2, 2, 2, 3, 3, 3, 5, 6]);
    expect([...axes[2]]).toEqual([0, 1, 2, 3, 4, 2, 3, 4, 5, 6]);
    expect(next).toBe(7);
  });

  it("goes on where a prefix ended", () => {
    fc.assert(
      fc.property(fc.array(span, { maxLength: 5 }), fc.array(span, { maxLength: 5 }), (a, b) => {
        const whole = mropePositions([...a, ...b], 2);
        const first = mropePositions(a, 2);
        const second = mropePositions(b, 2, first.next);
        expect(second.next).toBe(whole.next);
        for (let axis = 0; axis < 3; axis++)
          expect([...first.axes[axis], ...second.axes[axis]]).toEqual([...whole.axes[axis]]);
      }),
    );
  });

  it("ends one beyond the highest position, with one position a token", () => {
    fc.assert(
      fc.property(fc.array(span, { minLength: 1, maxLength: 6 }), (spans) => {
        const { axes, next } = mropePositions(spans, 2);
        const count = spans.reduce(
          (sum, s) => sum + (s.type === "text" ? s.length : numImageTokens(s.grid, 2)),
          0,
        );
        expect(axes[0].length).toBe(count);
        const highest = Math.max(-1, ...axes.flatMap((axis) => [...axis]));
        expect(next).toBe(highest + 1);
      }),
    );
  });
});

describe("rotaryBlock", () => {
  it("holds cosine and sine of position times frequency", () => {
    const block = rotaryBlock([1, 0.5], 3);
    const expected = [2, 1].flatMap((angle) => [Math.cos(angle), Math.sin(angle)]);
    for (const [i, value] of expected.entries()) expect(block[8 + i]).toBeCloseTo(value, 6);
  });
});
