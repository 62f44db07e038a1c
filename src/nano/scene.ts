/**
 * A scene as data: what stands where, before anything is drawn. Every pair of colour and shape is
 * unique, at most one object has its centre in each cell of the 4 × 4 token grid, and objects keep
 * clear of each other. Places are canvas pixels; `viewPlace` tells them as the model should say them.
 */
import { stream, type Rng } from "../core/random.ts";
import { point, type Point } from "../image/frames.ts";
import type { Mark } from "./inks.ts";
import { samplePlate, type Plate } from "./plates.ts";
import { iconSetsOf, type IconSet } from "./icons.ts";
import {
  colourNames,
  colours,
  gridSide,
  shapeNames,
  tokenPx,
  viewScale,
  type Colour,
  type Shape,
  type Split,
} from "./world.ts";

export interface SceneObject {
  readonly colour: Colour;
  readonly shape: Shape;
  readonly set: IconSet;
  readonly sizePx: number;
  readonly degrees: number;
  readonly rgb: readonly [number, number, number];
  /** Centre in canvas pixels, whole. */
  readonly x: number;
  readonly y: number;
  readonly plate: Plate;
}

export interface Scene {
  readonly objects: readonly SceneObject[];
  readonly background: Background;
}

/** A coarse grid of colours: a gradient between four corners, and brightness that varies. */
export interface Background {
  /** Grey levels at the grid's corners, [backgroundGrid + 1, backgroundGrid + 1, 3]. */
  readonly levels: Float32Array;
}

/** Cells a side of the background's grid. */
export const backgroundGrid = 14;

export const minObjects = 3;
export const maxObjects = 6;

/** What a thing is called by. */
export interface Kind {
  readonly colour: Colour;
  readonly shape: Shape;
}

/**
 * The canvas of a task, by (split, seed, index); the same arguments give the same scene. Every thing
 * has a colour of its own.
 */
export function sceneAt(split: Split, seed: number, index: number): Scene {
  const rng = stream(seed, "nano-scene", split, index);
  const own = rng.shuffle(colourNames).slice(0, sampleCount(rng));
  return sampleScene(
    rng,
    split,
    own.map((colour) => ({ colour, shape: rng.pick(shapeNames) })),
  );
}

/**
 * Draws a scene with things of the given kinds, by default 3–6 that no two share both words, and what
 * they carry, by default digits.
 */
export function sampleScene(
  rng: Rng,
  split: Split,
  kinds: readonly Kind[] = sampleKinds(rng, sampleCount(rng)),
  marks: readonly Mark[] = [],
): Scene {
  const places = samplePlaces(rng, kinds.length);
  const objects = kinds.map((kind, i) => ({
    ...kind,
    set: rng.pick(iconSetsOf[split]),
    sizePx: rng.pick(sizesPx),
    degrees: rng.pick(turns),
    rgb: jitter(rng, colours[kind.colour], 12),
    ...places[i],
    plate: samplePlate(rng, split, marks[i]),
  }));
  return { objects, background: sampleBackground(rng) };
}

/** Different pairs of a colour of the palette and any shape. */
export function sampleKinds(
  rng: Rng,
  count: number,
  palette: readonly Colour[] = colourNames,
): Kind[] {
  const chosen = new Set<number>();
  while (chosen.size < count) chosen.add(rng.int(0, palette.length * shapeNames.length - 1));
  return [...chosen].map((kind) => ({
    colour: palette[kind % palette.length],
    shape: shapeNames[Math.floor(kind / palette.length)],
  }));
}

/** Things that share neither colour nor shape. */
export function sampleOwnKinds(rng: Rng, count: number): Kind[] {
  const shapes = rng.shuffle(shapeNames);
  const own = rng.shuffle(colourNames).slice(0, count);
  return own.map((colour, i) => ({ colour, shape: shapes[i] }));
}

/** How many things a scene has. */
export function sampleCount(rng: Rng): number {
  return rng.int(minObjects, maxObjects);
}

/** Where the model should say that an object is: whole pixels of the view, 10–99. */
export function viewPlace(object: { readonly x: number; readonly y: number }): Point<"resized"> {
  return point("resized", Math.round(object.x / viewScale), Math.round(object.y / viewScale));
}

/** "red star". */
export function nameOf(object: SceneObject): string {
  return `${object.colour} ${object.shape}`;
}

/** Index of the visual token that holds a place of the view, row by row. */
export function tokenAt(x: number, y: number): number {
  return Math.floor(y / tokenPx) * gridSide + Math.floor(x / tokenPx);
}

const sizesPx = [64, 68, 72, 76, 80];
const turns = [-12, -6, 0, 6, 12];
/** Least distance of a centre from its cell's border, and between two centres, in canvas pixels. */
const cellMarginPx = 8;
const apartPx = 84;
const lowestPx = 40;
const highestPx = 396;

function samplePlaces(rng: Rng, count: number): { x: number; y: number }[] {
  const cellPx = tokenPx * viewScale;
  for (;;) {
    const cells = rng.shuffle(Array.from({ length: gridSide * gridSide }, (_, i) => i));
    const places: { x: number; y: number }[] = [];
    for (const cell of cells) {
      if (places.length === count) break;
      const within = (index: number) =>
        rng.int(
          Math.max(lowestPx, index * cellPx + cellMarginPx),
          Math.min(highestPx, (index + 1) * cellPx - cellMarginPx),
        );
      const place = { x: within(cell % gridSide), y: within(Math.floor(cell / gridSide)) };
      if (places.every((p) => Math.hypot(p.x - place.x, p.y - place.y) >= apartPx))
        places.push(place);
    }
    if (places.length === count) return places;
  }
}

function sampleBackground(rng: Rng): Background {
  const grey = rng.uniform(55, 120);
  const tint = () => grey + rng.uniform(-14, 14);
  const base: [number, number, number] = [tint(), tint(), tint()];
  const corners = Array.from({ length: 4 }, () => jitter(rng, base, 16));
  const roughness = rng.uniform(0, 12);
  const side = backgroundGrid + 1;
  const levels = new Float32Array(side * side * 3);
  for (let row = 0; row < side; row++)
    for (let column = 0; column < side; column++) {
      const v = row / backgroundGrid;
      const u = column / backgroundGrid;
      const offset = roughness * rng.normal();
      for (let c = 0; c < 3; c++) {
        const above = corners[0][c] * (1 - u) + corners[1][c] * u;
        const below = corners[2][c] * (1 - u) + corners[3][c] * u;
        const level = above * (1 - v) + below * v + offset;
        levels[(row * side + column) * 3 + c] = Math.max(0, Math.min(255, level));
      }
    }
  return { levels };
}

function jitter(
  rng: Rng,
  rgb: readonly [number, number, number],
  by: number,
): [number, number, number] {
  const level = (value: number) => Math.max(0, Math.min(255, value + rng.uniform(-by, by)));
  return [level(rgb[0]), level(rgb[1]), level(rgb[2])];
}
