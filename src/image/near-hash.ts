/**
 * Whether two pictures show the same pixels after they were resized, encoded again or cut at their edges:
 * difference hashes of 64 bits (Krawetz, "dHash") of a small grey picture find candidates, the correlation
 * of grey levels decides. Windows of the small picture stand for cuts.
 * Left out: mirrored and turned pictures, and crops that keep less than five eighths of a side.
 */
import type { RgbImage } from "./decode.ts";
import { resize } from "./resize.ts";

/** Side of the small grey picture. */
const SIDE = 64;

/** A part of a small picture, in its pixels. */
export interface HashWindow {
  readonly x0: number;
  readonly y0: number;
  readonly x1: number;
  readonly y1: number;
}

/** The whole picture. */
export const wholeWindow: HashWindow = { x0: 0, y0: 0, x1: SIDE, y1: SIDE };

/** What an edge may lose: up to three sixteenths, in steps of one. The whole picture comes first. */
const CUTS = [0, 4, 8, 12];
export const hashWindows: readonly HashWindow[] = CUTS.flatMap((x0) =>
  CUTS.flatMap((right) =>
    CUTS.flatMap((y0) =>
      CUTS.map((bottom): HashWindow => ({ x0, y0, x1: SIDE - right, y1: SIDE - bottom })),
    ),
  ),
);

/** A picture as the comparison knows it: grey levels of 64 × 64 cells, summed from the top left. */
export class SmallPicture {
  /** Grey levels, row by row. */
  readonly grey: Uint8Array;
  /** [y][x] sums of all cells above and to the left, (SIDE + 1)² of them. */
  private readonly sums: Float64Array;

  constructor(grey: Uint8Array) {
    this.grey = grey;
    const wide = SIDE + 1;
    this.sums = new Float64Array(wide * wide);
    for (let y = 0; y < SIDE; y++) {
      let row = 0;
      for (let x = 0; x < SIDE; x++) {
        row += grey[y * SIDE + x];
        this.sums[(y + 1) * wide + x + 1] = this.sums[y * wide + x + 1] + row;
      }
    }
  }

  static of(image: RgbImage): SmallPicture {
    const { data } = resize(image, { widthPx: SIDE, heightPx: SIDE }, "bilinear");
    const grey = new Uint8Array(SIDE * SIDE);
    for (let i = 0; i < grey.length; i++)
      // Luma of BT.601, as JPEG has it.
      grey[i] = Math.round(0.299 * data[3 * i] + 0.587 * data[3 * i + 1] + 0.114 * data[3 * i + 2]);
    return new SmallPicture(grey);
  }

  /**
   * Mean grey of each of columns × rows cells of a window, row by row, in `out`; at most GRID of either.
   * Parts of small cells count by their share.
   */
  means(
    { x0, y0, x1, y1 }: HashWindow,
    columns: number,
    rows: number,
    out: Float64Array = new Float64Array(columns * rows),
  ): Float64Array {
    const wide = SIDE + 1;
    const [width, height] = [(x1 - x0) / columns, (y1 - y0) / rows];
    const { sums } = this;
    for (let c = 0; c <= columns; c++) {
      const x = x0 + c * width;
      lefts[c] = Math.min(SIDE - 1, Math.floor(x));
      shares[c] = x - lefts[c];
    }
    for (let r = 0, i = 0; r <= rows; r++) {
      const y = y0 + r * height;
      const top = Math.min(SIDE - 1, Math.floor(y));
      const share = y - top;
      for (let c = 0; c <= columns; c++) {
        const at = top * wide + lefts[c];
        const above = sums[at] * (1 - shares[c]) + sums[at + 1] * shares[c];
        const below = sums[at + wide] * (1 - shares[c]) + sums[at + wide + 1] * shares[c];
        corners[i++] = above * (1 - share) + below * share;
      }
    }
    for (let r = 0, i = 0; r < rows; r++)
      for (let c = 0; c < columns; c++) {
        const at = r * (columns + 1) + c;
        const sum =
          corners[at + columns + 2] - corners[at + columns + 1] - corners[at + 1] + corners[at];
        out[i++] = sum / (width * height);
      }
    return out;
  }

  /** Bit 8 r + c is set where cell c of row r is darker than the one to its right, as two halves. */
  hash(window: HashWindow): readonly [high: number, low: number] {
    const means = this.means(window, 9, 8, hashMeans);
    const halves = [0, 0];
    for (let r = 0; r < 8; r++)
      for (let c = 0; c < 8; c++)
        if (means[9 * r + c] < means[9 * r + c + 1]) halves[r >> 2] |= 1 << (8 * (r & 3) + c);
    return [halves[0] >>> 0, halves[1] >>> 0];
  }
}

/** Side of the grids that are correlated. */
const GRID = 24;

// Room that every picture works in: nothing of it is kept from one call to the next.
const lefts = new Uint8Array(GRID + 1);
const shares = new Float64Array(GRID + 1);
/** Sums over all that lies above and to the left of the corners of cells. */
const corners = new Float64Array((GRID + 1) ** 2);
const hashMeans = new Float64Array(9 * 8);
const otherGrid = new Float64Array(GRID * GRID);

/** Grey levels of a window as differences from their mean, and the sum of their squares. */
function centred(picture: SmallPicture, window: HashWindow, out: Float64Array): number {
  picture.means(window, GRID, GRID, out);
  let sum = 0;
  for (let i = 0; i < out.length; i++) sum += out[i];
  const mean = sum / out.length;
  let squares = 0;
  for (let i = 0; i < out.length; i++) {
    out[i] -= mean;
    squares += out[i] * out[i];
  }
  return squares;
}

/**
 * The best correlation of a whole picture with a window of another that may be up to a step off, by moving
 * its edges one after the other.
 */
export function alignedCorrelation(
  whole: SmallPicture,
  other: SmallPicture,
  start: HashWindow,
): number | null {
  const own = new Float64Array(GRID * GRID);
  const ownSquares = centred(whole, wholeWindow, own);
  const least = own.length * PLAIN ** 2;
  /** Pearson's, in [−1, 1]; null where one is so plain that it would be a correlation of noise. */
  const correlation = (window: HashWindow): number | null => {
    const squares = centred(other, window, otherGrid);
    if (ownSquares < least || squares < least) return null;
    let products = 0;
    for (let i = 0; i < own.length; i++) products += own[i] * otherGrid[i];
    return products / Math.sqrt(ownSquares * squares);
  };
  let best = correlation(start);
  if (best === null) return null;
  let window = start;
  for (let step = 2; step >= 0.25; step /= 2)
    for (let moved = true; moved;) {
      moved = false;
      for (const edge of ["x0", "x1", "y0", "y1"] as const)
        for (const by of [step, -step]) {
          const tried = { ...window, [edge]: window[edge] + by };
          if (!isAround(tried, start)) continue;
          const found = correlation(tried);
          if (found === null || found <= best + 1e-6) continue;
          [best, window, moved] = [found, tried, true];
        }
    }
  return best;
}

/** In the picture, and no edge further away than one cut from the next. */
function isAround(window: HashWindow, start: HashWindow): boolean {
  const edges = ["x0", "y0", "x1", "y1"] as const;
  return edges.every(
    (edge) =>
      window[edge] >= 0 && window[edge] <= SIDE && Math.abs(window[edge] - start[edge]) <= 4,
  );
}

/** Standard deviation of grey levels below which a picture shows nothing to compare. */
const PLAIN = 3;

/** Bits in which two halves of 32 bits differ. */
export function bitsApart(a: number, b: number): number {
  let x = a ^ b;
  x -= (x >>> 1) & 0x55555555;
  x = (x & 0x33333333) + ((x >>> 2) & 0x33333333);
  return (((x + (x >>> 4)) & 0x0f0f0f0f) * 0x01010101) >>> 24;
}
