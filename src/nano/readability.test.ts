/**
 * Digits and signs must be unreadable in the first view and readable in the crop, for classifiers that
 * know where each plate is, k nearest neighbours and a perceptron on its pixels, trained on the training
 * split and judged on held-out digits and drawings.
 */
import { expect, test } from "vitest";
import { stream } from "../core/random.ts";
import { toModelImage } from "../image/model-image.ts";
import { resize } from "../image/resize.ts";
import { crossEntropy } from "../torch/nn.ts";
import { AdamW } from "../torch/optim.ts";
import { linear, type Tensor } from "../torch/ops.ts";
import { noGrad, scope } from "../torch/scope.ts";
import { tensor } from "../torch/tensor.ts";
import { drawCanvas, drawWindow } from "./canvas.ts";
import type { Mark } from "./inks.ts";
import { sampleKinds, sampleScene, sceneAt, type Scene } from "./scene.ts";
import {
  canvasPx,
  nanoPixelBudget,
  nanoPreprocessor,
  shapeNames,
  viewScale,
  type Split,
} from "./world.ts";

const sidePx = 80;
const numTrain = 5000;
const numTest = 300;

interface Sample {
  /** Index of the mark among the ten of its sort. */
  readonly mark: number;
  /** 9 × 9 grey levels of the view around the plate. */
  readonly view: Float64Array;
  /** 17 × 17 grey levels of the canvas, slightly blurred: what a crop enlarges. */
  readonly crop: Float64Array;
}

test("a part of the canvas resizes to the same part of the view", () => {
  const scene = sceneAt("heldout", 3, 0);
  const view = toModelImage(drawCanvas(scene), nanoPixelBudget, nanoPreprocessor);
  const [object] = scene.objects;
  const { x0, y0 } = windowAround(object);
  const part = partOfView(scene, x0, y0);
  for (let y = 4; y < 16; y++)
    for (let x = 4; x < 16; x++) {
      const at = ((y0 / viewScale + y) * view.widthPx + x0 / viewScale + x) * 3;
      expect(part.data[(y * 20 + x) * 3]).toBe(view.data[at]);
    }
});

const digits = Array.from({ length: 10 }, (_, digit) => digit);

test.each([
  ["digits", digits],
  ["signs", shapeNames],
] as const)("%s are read in crops and not in views", { timeout: 300_000 }, (_, marks) => {
  const train = samples("train", marks, numTrain);
  const heldout = samples("heldout", marks, numTest);
  const accuracy = (classify: typeof perceptron, which: "view" | "crop") => {
    const guesses = classify(train, heldout, which);
    return guesses.filter((guess, i) => guess === heldout[i].mark).length / numTest;
  };
  expect(accuracy(nearestNeighbours, "view")).toBeLessThanOrEqual(0.3);
  expect(accuracy(perceptron, "view")).toBeLessThanOrEqual(0.3);
  expect(accuracy(perceptron, "crop")).toBeGreaterThanOrEqual(0.85);
});

function samples(split: Split, marks: readonly Mark[], count: number): Sample[] {
  return Array.from({ length: count }, (_, i) => {
    const rng = stream(5, "readability", split, i);
    const mark = rng.int(0, marks.length - 1);
    const scene = sampleScene(rng, split, sampleKinds(rng, 1), [marks[mark]]);
    const [object] = scene.objects;
    const { x0, y0 } = windowAround(object);
    const part = partOfView(scene, x0, y0);
    const left = Math.round((object.x - x0) / viewScale - 0.5) - 4;
    const top = Math.round((object.y - y0) / viewScale - 0.5) - 4;
    const view = square(9, (x, y) => part.data[((top + y) * 20 + left + x) * 3]);
    const plate = drawWindow(scene, object.x - 9, object.y - 9, 19, 19);
    const crop = square(17, (x, y) => soft(plate.data, x + 1, y + 1));
    return { mark, view, crop };
  });
}

/** A window of 80 canvas pixels around an object that begins at a whole view pixel. */
function windowAround({ x, y }: { x: number; y: number }): { x0: number; y0: number } {
  const begin = (place: number) =>
    Math.min(
      canvasPx - sidePx,
      Math.max(0, Math.round((place - sidePx / 2) / viewScale) * viewScale),
    );
  return { x0: begin(x), y0: begin(y) };
}

function partOfView(scene: Scene, x0: number, y0: number) {
  const side = { widthPx: sidePx / viewScale, heightPx: sidePx / viewScale };
  return resize(drawWindow(scene, x0, y0, sidePx, sidePx), side, "bicubic");
}

/** The mean over 3 × 3 pixels of a plate, the middle counting four times, its neighbours twice. */
function soft(data: Uint8Array, x: number, y: number): number {
  let sum = 0;
  for (let dy = -1; dy <= 1; dy++)
    for (let dx = -1; dx <= 1; dx++)
      sum += data[((y + dy) * 19 + x + dx) * 3] * (2 - Math.abs(dx)) * (2 - Math.abs(dy));
  return sum / 16;
}

function square(side: number, at: (x: number, y: number) => number): Float64Array {
  return Float64Array.from({ length: side * side }, (_, i) => at(i % side, Math.floor(i / side)));
}

function nearestNeighbours(
  train: readonly Sample[],
  heldout: readonly Sample[],
  which: "view" | "crop",
): number[] {
  return heldout.map((sample) => {
    const wanted = sample[which];
    const near = train.slice(0, 2000).map((other) => {
      const have = other[which];
      let distance = 0;
      for (let i = 0; i < wanted.length; i++) distance += (wanted[i] - have[i]) ** 2;
      return { distance, mark: other.mark };
    });
    near.sort((a, b) => a.distance - b.distance);
    const votes = new Float64Array(10);
    near.slice(0, 5).forEach(({ mark }) => votes[mark]++);
    return votes.indexOf(Math.max(...votes));
  });
}

/** A perceptron with one hidden layer, trained on standardised pixels; its best of every 2 epochs. */
function perceptron(
  train: readonly Sample[],
  heldout: readonly Sample[],
  which: "view" | "crop",
): number[] {
  const size = train[0][which].length;
  const hidden = 192;
  const rows = (part: readonly Sample[]) => {
    const data = Float32Array.from(part.flatMap((sample) => [...sample[which]]));
    return tensor(
      data.map((level) => (level - 128) / 64),
      { shape: [part.length, size] },
    );
  };
  const random = stream(1, "perceptron", which);
  const weight = (out: number, width: number) =>
    tensor(
      Float32Array.from({ length: out * width }, () => random.normal() / Math.sqrt(width)),
      { shape: [out, width], requiresGrad: true },
    );
  return scope(() => {
    const inner = weight(hidden, size);
    const outer = weight(10, hidden);
    const parameters = new Map([
      ["inner", inner],
      ["outer", outer],
    ]);
    const optimizer = new AdamW([{ parameters }], { weightDecay: 0.05 });
    const inputs = rows(train);
    const targets = Int32Array.from(train, ({ mark }) => mark);
    const tests = rows(heldout);
    const logits = (x: Tensor) => linear(linear(x, inner).relu(), outer);
    const right = (guesses: readonly number[]) =>
      guesses.filter((guess, i) => guess === heldout[i].mark).length;
    let best: number[] = [];
    for (let epoch = 1; epoch <= 16; epoch++) {
      const order = random.shuffle(Array.from(targets.keys()));
      for (let from = 0; from + 50 <= order.length; from += 50)
        scope(() => {
          const batch = Int32Array.from(order.slice(from, from + 50));
          const wanted = tensor(batch.map((i) => targets[i]));
          crossEntropy(logits(inputs.indexSelect(0, tensor(batch))), wanted).backward();
          optimizer.step(2e-3);
          optimizer.zeroGrad();
        });
      if (epoch % 2 === 1) continue;
      const guesses = noGrad(() => scope(() => logits(tests).argmax(-1).toNumbers()));
      if (right(guesses) > right(best)) best = guesses;
    }
    optimizer.dispose();
    return best;
  });
}
