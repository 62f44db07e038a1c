/** Polygons as regions: corners in order, the last joined to the first; edges and corners belong to them. */

export type Corner = readonly [x: number, y: number];

/** By ray casting, edges included. */
export function insidePolygon(
  { x, y }: { readonly x: number; readonly y: number },
  corners: readonly Corner[],
): boolean {
  let isIn = false;
  for (const [i, [x0, y0]] of corners.entries()) {
    const [x1, y1] = corners[(i + 1) % corners.length];
    const turn = (x1 - x0) * (y - y0) - (y1 - y0) * (x - x0);
    const isBetween = (x - x0) * (x - x1) <= 0 && (y - y0) * (y - y1) <= 0;
    if (turn === 0 && isBetween) return true;
    if (y0 > y !== y1 > y && x < ((x1 - x0) * (y - y0)) / (y1 - y0) + x0) isIn = !isIn;
  }
  return isIn;
}

/** A place inside: in the middle of the widest part at half height. */
export function insideOf(corners: readonly Corner[]): [x: number, y: number] {
  const [, top, , bottom] = boundsOf(corners);
  const y = (top + bottom) / 2;
  const crossings = corners
    .flatMap(([x0, y0], i) => {
      const [x1, y1] = corners[(i + 1) % corners.length];
      return y0 > y === y1 > y ? [] : [((x1 - x0) * (y - y0)) / (y1 - y0) + x0];
    })
    .sort((a, b) => a - b);
  let [from, to] = [crossings[0] ?? corners[0][0], crossings[1] ?? corners[0][0]];
  for (let i = 2; i + 1 < crossings.length; i += 2)
    if (crossings[i + 1] - crossings[i] > to - from) [from, to] = [crossings[i], crossings[i + 1]];
  return [(from + to) / 2, y];
}

/** True where all corners lie on one line. */
export function isFlat(corners: readonly Corner[]): boolean {
  const [x0, y0] = corners[0];
  const [x1, y1] = corners.find(([x, y]) => x !== x0 || y !== y0) ?? corners[0];
  return corners.every(([x, y]) => (x1 - x0) * (y - y0) === (y1 - y0) * (x - x0));
}

export function boundsOf(corners: readonly Corner[]): [number, number, number, number] {
  const xs = corners.map(([x]) => x);
  const ys = corners.map(([, y]) => y);
  return [Math.min(...xs), Math.min(...ys), Math.max(...xs), Math.max(...ys)];
}
