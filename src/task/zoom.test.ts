import { expect, test } from "vitest";
import { patches14 } from "../image/fixtures/preprocessor.ts";
import type { ToolCallResult, ToolPlace } from "../text/tool-call.ts";
import { gradientImage } from "./fixtures/scene.ts";
import type { AnswerView } from "./trajectory.ts";
import { zoomConfigSchema, zoomStep, type ZoomScene, type ZoomStep } from "./zoom.ts";

const view: AnswerView = {
  original: { widthPx: 448, heightPx: 448 },
  resized: { widthPx: 112, heightPx: 112 },
  coordinates: "resized",
};
const scene: ZoomScene = { image: gradientImage(448, 448), view, preprocessor: patches14 };
const config = zoomConfigSchema.parse({ windowPx: 12, outputPx: 112 });
const at = (x: number, y: number): ToolPlace => ({ kind: "point", x, y });
const call = (place: ToolPlace): ToolCallResult => ({ ok: true, call: { name: "crop", place } });

function shown(step: ZoomStep) {
  if (!step.ok) throw new Error(step.fault);
  return step;
}

test("shows the original pixels around the place", () => {
  const { image, zoom } = shown(zoomStep(call(at(57, 83)), scene, config, 1, 0));
  expect(zoom.boxOriginal).toEqual({ frame: "original", x0: 204, y0: 308, x1: 252, y1: 356 });
  const middle = (56 * 112 + 56) * 3;
  expect(Math.abs(image.data[middle] - 228)).toBeLessThanOrEqual(1);
  expect(Math.abs(image.data[middle + 1] - (332 % 256))).toBeLessThanOrEqual(1);
});

test("thousandths mean the same place", () => {
  const relative = { ...scene, view: { ...view, coordinates: "relative" as const } };
  const a = shown(zoomStep(call(at(500, 250)), relative, config, 1, 0));
  const b = shown(zoomStep(call(at(56, 28)), scene, config, 1, 0));
  expect(a.image.hash).toBe(b.image.hash);
  expect(a.zoom.at).toEqual(b.zoom.at);
});

test("a box shows itself, as large as the output", () => {
  const place: ToolPlace = { kind: "box", x0: 20, y0: 30, x1: 60, y1: 50 };
  const { zoom } = shown(zoomStep(call(place), scene, config, 1, 0));
  expect(zoom.boxOriginal).toEqual({ frame: "original", x0: 80, y0: 120, x1: 240, y1: 200 });
  expect(zoom.outputSize).toEqual({ widthPx: 112, heightPx: 56 });
  expect(zoom.at).toEqual({ frame: "resized", x: 40, y: 40 });
});

test.each<[string, ToolPlace]>([
  ["right of the image", at(112, 5)],
  ["above it", at(5, -1)],
  ["a box outside", { kind: "box", x0: 120, y0: 0, x1: 140, y1: 20 }],
  ["a box of nothing", { kind: "box", x0: 20, y0: 20, x1: 10, y1: 10 }],
])("%s there is nothing to see", (_, place) => {
  expect(zoomStep(call(place), scene, config, 1, 0)).toEqual({ ok: false, fault: "outside" });
});

test("the published rule shows something for any point", () => {
  const repo = { ...config, mode: "repo" as const };
  expect(zoomStep(call(at(-50, 900)), scene, repo, 1, 0).ok).toBe(true);
});

test("a call's own fault passes through", () => {
  const bad: ToolCallResult = { ok: false, fault: "noPlace" };
  expect(zoomStep(bad, scene, config, 1, 0)).toEqual(bad);
});

test("control blank: the same size, all black", () => {
  const seen = shown(zoomStep(call(at(57, 83)), scene, config, 1, 0));
  const blank = shown(zoomStep(call(at(57, 83)), scene, { ...config, control: "blank" }, 1, 0));
  expect(blank.image.data.every((level) => level === 0)).toBe(true);
  expect(blank.image.grid).toEqual(seen.image.grid);
  expect(blank.zoom).toEqual({ ...seen.zoom, control: "blank", imageHash: blank.image.hash });
});

test("control elsewhere: a window away, the same for the same seed and turn", () => {
  const elsewhere = { ...config, control: "elsewhere" as const };
  const boxAt = (seed: number, turn: number) =>
    shown(zoomStep(call(at(57, 83)), scene, elsewhere, seed, turn)).zoom.boxOriginal;
  expect(boxAt(1, 0)).toEqual(boxAt(1, 0));
  expect(boxAt(1, 0)).not.toEqual(boxAt(2, 0));
  expect(boxAt(1, 0)).not.toEqual(boxAt(1, 1));
  for (let seed = 0; seed < 50; seed++) {
    const { x0, y0 } = boxAt(seed, 0);
    expect(Math.max(Math.abs(x0 - 204), Math.abs(y0 - 308))).toBeGreaterThan(40);
  }
});
