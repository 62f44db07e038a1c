/**
 * What the vision tower learns from: views and crops with a label for every visual token. Half of a
 * batch are views; the others are at crop scale, most of them with four plates at once, since reading
 * is the slow part and an image costs the same whatever it holds.
 */
import { stream, type Rng } from "../core/random.ts";
import type { RgbImage } from "../image/decode.ts";
import { imageHash, patches, type ModelImage } from "../image/model-image.ts";
import { resize } from "../image/resize.ts";
import { drawView, drawWindow } from "./canvas.ts";
import type { Mark } from "./inks.ts";
import { markPx, plateLevels, platePx, samplePlate } from "./plates.ts";
import {
  sampleKinds,
  sampleScene,
  tokenAt,
  viewPlace,
  type SceneObject,
  type Scene,
} from "./scene.ts";
import {
  canvasPx,
  colourNames,
  cropScale,
  gridSide,
  nanoPreprocessor,
  shapeNames,
  tokenPx,
  viewPx,
  viewScale,
  windowPx,
  type Split,
} from "./world.ts";

/** Number of visual tokens of a view or a crop. */
export const numTokens = gridSide * gridSide;

export const patchesPerImage = (viewPx / 14) ** 2;
/** Length of a flattened patch. */
export const patchLength = 3 * 2 * 14 * 14;

/** What each visual token shows; -1 where there is nothing to say. */
export interface TowerLabels {
  /** Index into `colourNames`; `colourNames.length` where no object is; -1 in crops. */
  readonly colour: Int32Array;
  /** Of the object, or of the sign on a plate at crop scale. */
  readonly shape: Int32Array;
  /** View place of the token's object. */
  readonly x: Int32Array;
  readonly y: Int32Array;
  readonly digit: Int32Array;
}

export interface TowerImage extends TowerLabels {
  readonly image: ModelImage;
}

/** Several images: patches and labels one after another. */
export interface TowerBatch {
  /** [numImages · 64, 1176] */
  readonly patches: Float32Array<ArrayBuffer>;
  readonly grids: readonly ModelImage["grid"][];
  readonly labels: TowerLabels;
}

export function stackImages(images: readonly TowerImage[]): TowerBatch {
  const size = patchesPerImage * patchLength;
  const stacked = new Float32Array(images.length * size);
  images.forEach(({ image }, i) => stacked.set(patches(image, nanoPreprocessor), i * size));
  const join = (label: keyof TowerLabels) => {
    const joined = new Int32Array(images.length * numTokens);
    images.forEach((image, i) => joined.set(image[label], i * numTokens));
    return joined;
  };
  return {
    patches: stacked,
    grids: images.map(({ image }) => image.grid),
    labels: {
      colour: join("colour"),
      shape: join("shape"),
      x: join("x"),
      y: join("y"),
      digit: join("digit"),
    },
  };
}

/** Canvas pixels a side of the zoom window. */
export const windowCanvasPx = windowPx * viewScale;

/** Error of the pointing that crops imitate, in view pixels. */
export const pointingSigmaPx = 1.3;

/** The images of one step: half views, an eighth single crops, the others with four plates. */
export function towerBatch(seed: number, step: number, batchSize: number): TowerBatch {
  const images = Array.from({ length: batchSize }, (_, i) => {
    const rng = stream(seed, "nano-tower", step, i);
    if (i % 2 === 0) return viewImage(rng, "train");
    return i % 8 === 1 ? cropImage(rng, "train", pointingSigmaPx) : platesImage(rng, "train");
  });
  return stackImages(images);
}

/** Names an image by its hash, as `toModelImage` does, without resizing. */
export function asModelImage(image: RgbImage): ModelImage {
  const side = viewPx / 14;
  return { ...image, hash: imageHash(image), grid: { t: 1, h: side, w: side }, numTokens };
}

/** The crop around a view place, as the zoom tool cuts it from the canvas. */
export function cropAt(scene: Scene, at: { readonly x: number; readonly y: number }): RgbImage {
  const begin = (place: number) =>
    Math.min(
      Math.max(0, Math.round(place * viewScale - windowCanvasPx / 2)),
      canvasPx - windowCanvasPx,
    );
  const window = drawWindow(scene, begin(at.x), begin(at.y), windowCanvasPx, windowCanvasPx);
  return resize(window, { widthPx: viewPx, heightPx: viewPx }, "bicubic");
}

/** A view place near an object, wrong by normal errors of `sigmaPx` view pixels, 3 at most. */
export function nearPlace(
  rng: Rng,
  object: SceneObject,
  sigmaPx: number,
): { x: number; y: number } {
  const place = viewPlace(object);
  const error = () => Math.max(-3, Math.min(3, Math.round(sigmaPx * rng.normal())));
  return { x: place.x + error(), y: place.y + error() };
}

/** A view with labels for colour, shape and place. */
export function viewImage(rng: Rng, split: Split): TowerImage {
  const scene = sampleScene(rng, split);
  const labels = emptyLabels(colourNames.length);
  for (const object of scene.objects) {
    const place = viewPlace(object);
    const token = tokenAt(object.x / viewScale, object.y / viewScale);
    labels.colour[token] = colourNames.indexOf(object.colour);
    labels.shape[token] = shapeNames.indexOf(object.shape);
    labels.x[token] = place.x;
    labels.y[token] = place.y;
  }
  return { image: asModelImage(drawView(scene)), ...labels };
}

/** A crop as episodes show it: one plate near the middle. The four tokens around it carry its mark. */
export function cropImage(rng: Rng, split: Split, sigmaPx: number): TowerImage {
  const scene = sampleScene(rng, split, sampleKinds(rng, 1), [sampleMark(rng)]);
  const [object] = scene.objects;
  const at = nearPlace(rng, object, sigmaPx);
  const labels = emptyLabels(-1);
  const centre = (place: number, canvas: number) =>
    viewPx / 2 + (canvas - place * viewScale) * cropScale;
  labelAround(labels, centre(at.x, object.x), centre(at.y, object.y), object.plate.mark);
  return { image: asModelImage(cropAt(scene, at)), ...labels };
}

/** Four plates at crop scale, one in each quarter; their tokens carry their marks. */
export function platesImage(rng: Rng, split: Split): TowerImage {
  const labels = emptyLabels(-1);
  const quarter = windowCanvasPx / 2;
  const data = new Uint8Array(windowCanvasPx * windowCanvasPx * 3);
  const ground = [rng.int(30, 250), rng.int(30, 250), rng.int(30, 250)];
  for (let i = 0; i < data.length; i++) data[i] = ground[i % 3];
  const loose = Math.floor((quarter - markPx) / 2);
  for (let part = 0; part < 4; part++) {
    const plate = samplePlate(rng, split, sampleMark(rng), 1.5);
    const levels = plateLevels(plate);
    const left = (part & 1) * quarter;
    const top = (part >> 1) * quarter;
    const offsetX = rng.int(-loose, loose) + (quarter - platePx - 1) / 2;
    const offsetY = rng.int(-loose, loose) + (quarter - platePx - 1) / 2;
    for (let y = 0; y < quarter; y++)
      for (let x = 0; x < quarter; x++) {
        const plateX = x - Math.floor(offsetX);
        const plateY = y - Math.floor(offsetY);
        if (plateX < 0 || plateY < 0 || plateX >= platePx || plateY >= platePx) continue;
        const at = ((top + y) * windowCanvasPx + left + x) * 3;
        data.fill(levels[plateY * platePx + plateX], at, at + 3);
      }
    const middle = (start: number) => (start + quarter / 2) * cropScale;
    labelAround(labels, middle(left), middle(top), plate.mark);
  }
  const window = { widthPx: windowCanvasPx, heightPx: windowCanvasPx, data };
  const image = resize(window, { widthPx: viewPx, heightPx: viewPx }, "bicubic");
  return { image: asModelImage(image), ...labels };
}

function emptyLabels(colour: number): TowerLabels {
  const none = () => new Int32Array(numTokens).fill(-1);
  return {
    colour: none().fill(colour),
    shape: none(),
    x: none(),
    y: none(),
    digit: none(),
  };
}

/** Labels the tokens whose centres lie within one token of a place in crop pixels. */
function labelAround(labels: TowerLabels, x: number, y: number, mark: Mark): void {
  const isDigit = typeof mark === "number";
  const row = isDigit ? labels.digit : labels.shape;
  const label = isDigit ? mark : shapeNames.indexOf(mark);
  for (let token = 0; token < numTokens; token++) {
    const dx = ((token % gridSide) + 0.5) * tokenPx - x;
    const dy = (Math.floor(token / gridSide) + 0.5) * tokenPx - y;
    if (Math.abs(dx) < tokenPx && Math.abs(dy) < tokenPx) row[token] = label;
  }
}

/** Signs are easier than digits: four of them to six. */
function sampleMark(rng: Rng): Mark {
  return rng.chance(0.4) ? rng.pick(shapeNames) : rng.int(0, 9);
}
