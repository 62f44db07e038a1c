import { expect, test } from "vitest";
import { stream } from "../core/random.ts";
import { zoom } from "../image/crop.ts";
import { imageHash, toModelImage } from "../image/model-image.ts";
import { drawCanvas, drawView } from "./canvas.ts";
import { iconSetsOf } from "./icons.ts";
import { inkRange } from "./inks.ts";
import { samplePlate } from "./plates.ts";
import { sceneAt, tokenAt, viewPlace } from "./scene.ts";
import { cropAt } from "./tower-images.ts";
import {
  nanoPixelBudget,
  nanoPreprocessor,
  tokenPx,
  viewPx,
  viewScale,
  windowPx,
} from "./world.ts";

test("training and held-out digits, drawings and canvases have nothing in common", () => {
  for (let digit = 0; digit < 10; digit++) {
    const [first, end] = inkRange(digit, "train");
    const [heldFirst, heldEnd] = inkRange(digit, "heldout");
    expect(first).toBe(0);
    expect(heldFirst).toBe(end);
    expect(heldEnd - heldFirst).toBeGreaterThan(150);
  }
  const rng = stream(1, "test");
  for (let i = 0; i < 300; i++) {
    const plate = samplePlate(rng, "heldout");
    expect(plate.image).toBeGreaterThanOrEqual(inkRange(plate.mark, "train")[1]);
  }
  expect(iconSetsOf.train.filter((set) => iconSetsOf.heldout.includes(set))).toEqual([]);
  const scenes = Array.from({ length: 40 }, (_, i) => ({
    train: sceneAt("train", 1, i),
    heldout: sceneAt("heldout", 1, i),
  }));
  for (const { heldout } of scenes)
    for (const object of heldout.objects) expect(iconSetsOf.heldout).toContain(object.set);
  const hashes = scenes.flatMap(({ train, heldout }) =>
    [train, heldout].map((scene) => imageHash(drawView(scene))),
  );
  expect(new Set(hashes).size).toBe(80);
});

test("scenes keep their rules", () => {
  for (let i = 0; i < 300; i++) {
    const { objects } = sceneAt("train", 2, i);
    expect(objects.length).toBeGreaterThanOrEqual(3);
    expect(objects.length).toBeLessThanOrEqual(6);
    expect(new Set(objects.map(({ colour }) => colour)).size).toBe(objects.length);
    const tokens = objects.map(({ x, y }) => tokenAt(x / viewScale, y / viewScale));
    expect(new Set(tokens).size).toBe(objects.length);
    for (const object of objects) {
      const { x, y } = viewPlace(object);
      for (const value of [x, y]) {
        expect(value).toBeGreaterThanOrEqual(10);
        expect(value).toBeLessThanOrEqual(99);
      }
    }
  }
});

test("the fast view looks like the canvas resized", () => {
  for (let i = 0; i < 4; i++) {
    const scene = sceneAt("train", 3, i);
    const truth = toModelImage(drawCanvas(scene), nanoPixelBudget, nanoPreprocessor);
    const fast = drawView(scene);
    expect([truth.widthPx, truth.heightPx]).toEqual([viewPx, viewPx]);
    let difference = 0;
    for (let k = 0; k < fast.data.length; k++) difference += Math.abs(fast.data[k] - truth.data[k]);
    expect(difference / fast.data.length).toBeLessThan(0.5);
  }
});

test("crops for training are the zoom tool's crops", () => {
  const scene = sceneAt("heldout", 4, 1);
  const canvas = drawCanvas(scene);
  const size = { widthPx: viewPx, heightPx: viewPx };
  for (const object of scene.objects) {
    const at = viewPlace(object);
    const settings = { windowPx, outputPx: viewPx, drawDot: false, mode: "default" } as const;
    const result = zoom(canvas, at, size, settings, { tokenPx });
    if (!result.ok) throw new Error("outside");
    expect(result.crop.image).toEqual(cropAt(scene, at));
  }
});
