import { expect, test } from "vitest";
import type { RgbImage } from "../../image/decode.ts";
import { shownPicture, withCircle } from "./draw.ts";

const grey = (widthPx: number, heightPx: number): RgbImage => ({
  widthPx,
  heightPx,
  data: new Uint8Array(widthPx * heightPx * 3).fill(90),
});
const isBlue = ({ data, widthPx }: RgbImage, x: number, y: number) =>
  data[(y * widthPx + x) * 3 + 2] > 200 && data[(y * widthPx + x) * 3] < 60;

test("the circle has its diameter, is empty, and leaves the picture as it was", () => {
  const picture = { image: grey(300, 200), at: { x: 150, y: 100 } };
  const drawn = withCircle(picture, 100);
  expect(picture.image.data.every((value) => value === 90)).toBe(true);
  const row = Array.from({ length: 300 }, (_, x) => x).filter((x) => isBlue(drawn, x, 100));
  expect(row[0]).toBe(100);
  expect(row.at(-1)).toBe(199);
  const column = Array.from({ length: 200 }, (_, y) => y).filter((y) => isBlue(drawn, 150, y));
  expect([column[0], column.at(-1)]).toEqual([50, 149]);
  expect(drawn.data[(100 * 300 + 150) * 3]).toBe(90);
});

test("a circle at the edge, or all outside, is cut off", () => {
  const corner = withCircle({ image: grey(100, 100), at: { x: 0, y: 99.5 } }, 40);
  expect(isBlue(corner, 19, 99)).toBe(true);
  const outside = withCircle({ image: grey(40, 40), at: { x: 900, y: -900 } }, 100);
  expect(outside.data.every((value) => value === 90)).toBe(true);
});

test("a picture made smaller takes its place along", () => {
  const { image, at } = shownPicture(grey(2000, 1000), { x: 1500, y: 250 }, 1000);
  expect([image.widthPx, image.heightPx]).toEqual([1000, 500]);
  expect(at).toEqual({ x: 750, y: 125 });
  const small = grey(50, 40);
  expect(shownPicture(small, { x: 1, y: 2 }, 1000)).toEqual({ image: small, at: { x: 1, y: 2 } });
});
