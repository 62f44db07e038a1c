import { describe, expect, it } from "vitest";
import { fillBlack } from "./crop.ts";
import {
  annotate,
  drawDisc,
  drawLine,
  drawMarker,
  drawRectangle,
  paste,
  type Colour,
} from "./draw.ts";
import type { RgbImage } from "./decode.ts";
import { readFixture, sha256 } from "./fixtures/digest.ts";
import { noiseImage } from "./fixtures/noise.ts";

interface Case {
  radius: number;
  outline: number;
  side: number;
  centre: number;
  sha256: string;
}

const white: Colour = [255, 255, 255];
const red: Colour = [255, 0, 0];
const { pillow, cases } = readFixture<{ pillow: string; cases: Case[] }>("draw.json");

describe(`drawDisc equals the ellipse of Pillow ${pillow}`, () => {
  for (const c of cases)
    it(`radius ${c.radius}, outline ${c.outline}`, () => {
      const image = fillBlack({ widthPx: c.side, heightPx: c.side });
      drawDisc(image, { x: c.centre, y: c.centre }, c.radius, red, {
        colour: white,
        widthPx: c.outline,
      });
      expect(sha256(image.data)).toBe(c.sha256);
    });
});

describe("drawing", () => {
  it("of a line reaches both ends", () => {
    const image = fillBlack({ widthPx: 6, heightPx: 4 });
    drawLine(image, { x: 0, y: 0 }, { x: 3, y: 3 }, white);
    expect(picture(image)).toEqual(["#.....", ".#....", "..#...", "...#.."]);
    drawLine(image, { x: 5, y: 0 }, { x: 5, y: 0 }, white);
    expect(picture(image)[0]).toBe("#....#");
  });

  it("of a rectangle stays inside the half-open box", () => {
    const image = fillBlack({ widthPx: 6, heightPx: 5 });
    drawRectangle(image, { x0: 1, y0: 1, x1: 5, y1: 4 }, white);
    expect(picture(image)).toEqual(["......", ".####.", ".#..#.", ".####.", "......"]);
  });

  it("of a marker shows its number", () => {
    const image = fillBlack({ widthPx: 17, heightPx: 17 });
    drawMarker(image, { x: 8, y: 8 }, 7, [1, 0, 0]);
    expect(
      picture(image)
        .slice(6, 11)
        .map((row) => row.slice(7, 10)),
    ).toEqual(["###", "..#", ".#.", ".#.", ".#."]);
  });

  it("pastes and cuts off what leaves the image", () => {
    const image = fillBlack({ widthPx: 4, heightPx: 3 });
    const part = { widthPx: 2, heightPx: 2, data: new Uint8Array(12).fill(255) };
    paste(image, part, -1, 2);
    paste(image, part, 3, 0);
    paste(image, part, 40, 0);
    expect(picture(image)).toEqual(["...#", "...#", "#..."]);
  });

  it("cuts off every figure at the edges", () => {
    const image = noiseImage(20, 20, 0);
    for (const at of [
      { x: -3, y: -3 },
      { x: 22, y: 5 },
      { x: 1e4, y: 1e4 },
    ]) {
      drawDisc(image, at, 7, red, { colour: white, widthPx: 2 });
      drawMarker(image, at, 12);
      drawLine(image, at, { x: 10, y: 10 }, white, 3);
      drawRectangle(image, { x0: at.x - 5, y0: at.y - 5, x1: at.x + 5, y1: at.y + 5 }, red, 2);
    }
    expect(image.data.length).toBe(1200);
  });
});

describe("annotate", () => {
  it("draws into a copy", () => {
    const image = fillBlack({ widthPx: 200, heightPx: 100 });
    const result = annotate(image, {
      points: [
        { x: 50, y: 50 },
        { x: 150, y: 50 },
      ],
      path: [
        { x: 50, y: 50 },
        { x: 150, y: 50 },
      ],
      boxes: [{ x0: 10, y0: 10, x1: 190, y1: 90 }],
    });
    expect(image.data.every((level) => level === 0)).toBe(true);
    const lit = (x: number, y: number) => result.data[(y * 200 + x) * 3 + 1] > 0;
    expect([lit(100, 50), lit(10, 40), lit(50, 48), lit(100, 30)]).toEqual([
      true,
      true,
      true,
      false,
    ]);
  });
});

/** Rows of `#` for white and `.` for anything else. */
function picture(image: RgbImage): string[] {
  return Array.from({ length: image.heightPx }, (_, y) =>
    Array.from({ length: image.widthPx }, (_, x) =>
      image.data
        .subarray((y * image.widthPx + x) * 3)
        .subarray(0, 3)
        .every((v) => v === 255)
        ? "#"
        : ".",
    ).join(""),
  );
}
