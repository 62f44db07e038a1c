/**
 * How published scorers read places out of replies and hold them against a box. Boxes and points are
 * shares of the sides here, and edges belong to the box, as all of them have it.
 */
import type { TaskRecord } from "../../../task/record.ts";
import type { PixelBox, PixelSize, Protocol, Reply } from "../benchmark.ts";
import { readAs, said, unread } from "../judging.ts";

export interface SharePoint {
  readonly x: number;
  readonly y: number;
}

/** A published box with the size of its picture, in pixels; x1 and y1 are the far edges. */
export interface Target {
  readonly box: PixelBox;
  readonly size: PixelSize;
}

/** The target of a record of kind "point" whose truth is a box. */
export function targetOf({ id, answer, facts }: TaskRecord): Target {
  const size = facts?.size;
  if (typeof answer !== "object" || !("box" in answer) || !Array.isArray(size))
    throw new Error(`record ${id} has no box, or no size`);
  const [widthPx, heightPx] = size as number[];
  return { box: answer.box, size: { widthPx, heightPx } };
}

/** Judges by the point that `read` finds in what was said. */
export function byPoint(
  read: (text: string, reply: Reply, target: Target) => SharePoint | null,
  shares: (target: Target) => PixelBox = shareBox,
): Protocol["judge"] {
  return (record, reply) => {
    const target = targetOf(record);
    const at = read(said(reply), reply, target);
    if (at === null) return unread;
    return readAs(`(${at.x}, ${at.y})`, isInside(at, shares(target)));
  };
}

export function isInside({ x, y }: SharePoint, [x0, y0, x1, y1]: PixelBox): boolean {
  return x0 <= x && x <= x1 && y0 <= y && y <= y1;
}

export function shareBox({ box: [x0, y0, x1, y1], size }: Target): PixelBox {
  const { widthPx, heightPx } = size;
  return [x0 / widthPx, y0 / heightPx, x1 / widthPx, y1 / heightPx];
}

/**
 * ScreenSpot-Pro's own: two numbers are a point, four the box whose middle is meant, in pixels of the
 * picture as the model saw it (thousandths, where its family speaks so).
 */
export function seenPoint(text: string, { view }: Reply, { size }: Target): SharePoint | null {
  const at = middle(numbersIn(text));
  if (at === null) return null;
  const { widthPx, heightPx } =
    view?.coordinates === "relative" ? { widthPx: 1000, heightPx: 1000 } : (view?.resized ?? size);
  return { x: at.x / widthPx, y: at.y / heightPx };
}

/** SeeClick's: a reply that says "box" has one in thousandths; else two or four numbers, in shares. */
export function seeClickPoint(text: string): SharePoint | null {
  if (text.includes("box")) {
    const at = middle([...text.matchAll(/\d+/g)].slice(0, 4).map(Number));
    return at === null ? null : { x: at.x / 1000, y: at.y / 1000 };
  }
  return middle(numbersIn(text));
}

/** lmms-eval's for boxes: four numbers in brackets, in thousandths where one is above 1. */
export function lmmsBoxMiddle(text: string): SharePoint {
  const numbers = FOUR.exec(text)?.slice(1).map(Number) ?? [0, 0, 0, 0];
  const scale = Math.max(...numbers) > 1 ? 1000 : 1;
  const [x0, y0, x1, y1] = numbers.map((value) => value / scale);
  return { x: (x0 + x1) / 2, y: (y0 + y1) / 2 };
}

/** lmms-eval's for points (commit 75571cf), before anything is divided. */
export function lmmsPoint(text: string): SharePoint | null {
  const tagged = /<\s*bbox[^>]*>([^]*?)<\s*\/\s*bbox\s*>/i.exec(text);
  if (tagged !== null) {
    const numbers = tokensIn(tagged[1]);
    if (numbers.length >= 4) return middle(numbers.slice(0, 4));
  }
  const pair = PAIR.exec(text) ?? NAMED.exec(text);
  if (pair !== null) return { x: tokenValue(pair[1]), y: tokenValue(pair[2]) };
  const numbers = tokensIn(text);
  if (numbers.length >= 4 && /box|rect/i.test(text)) return middle(numbers.slice(0, 4));
  return numbers.length >= 2 ? { x: numbers[0], y: numbers[1] } : null;
}

/** As `lmmsPoint`, in pixels of a picture where a number is above 1. */
export function lmmsSharePoint(text: string, { widthPx, heightPx }: PixelSize): SharePoint | null {
  const at = lmmsPoint(text);
  if (at === null || !(at.x > 1 || at.y > 1)) return at;
  return { x: at.x / widthPx, y: at.y / heightPx };
}

/** VLMEvalKit's: `x=…, y=…` with one blank, in pixels where a number is above 1; (0, 0) where there is none. */
export function vlmevalkitPoint(text: string, _: Reply, { size }: Target): SharePoint {
  const match = /x=([\d.]+), y=([\d.]+)/.exec(text);
  const [x, y] = match === null ? [0, 0] : [Number(match[1]), Number(match[2])];
  return x > 1 || y > 1 ? { x: x / size.widthPx, y: y / size.heightPx } : { x, y };
}

/** VLMEvalKit's box where the data have width and height: the far edge is the last pixel. */
export function lastPixelBox({ box: [x0, y0, x1, y1], size }: Target): PixelBox {
  return shareBox({ box: [x0, y0, x1 - 1, y1 - 1], size });
}

function middle(numbers: readonly number[]): SharePoint | null {
  if (numbers.length === 2) return { x: numbers[0], y: numbers[1] };
  if (numbers.length !== 4) return null;
  return { x: (numbers[0] + numbers[2]) / 2, y: (numbers[1] + numbers[3]) / 2 };
}

function numbersIn(text: string): number[] {
  return [...text.matchAll(/-?\d+(?:\.\d+)?/g)].map(([token]) => Number(token));
}

function tokensIn(text: string): number[] {
  return [...text.matchAll(/-?\d+(?:\.\d+)?%?/g)].map(([token]) => tokenValue(token));
}

function tokenValue(token: string): number {
  return token.endsWith("%") ? Number(token.slice(0, -1)) / 100 : Number(token);
}

const NUMBER = String.raw`\s*(-?\d+(?:\.\d+)?)\s*`;
const FOUR = new RegExp(String.raw`[[(]${NUMBER},${NUMBER},${NUMBER},${NUMBER}[\])]`);
const TOKEN = String.raw`(-?\d+(?:\.\d+)?%?)`;
const PAIR = new RegExp(String.raw`[[(]\s*${TOKEN}\s*(?:,|\s)\s*${TOKEN}\s*[\])]`);
const NAMED = new RegExp(
  String.raw`['"]?x['"]?\s*[:=]\s*${TOKEN}[^]*?['"]?y['"]?\s*[:=]\s*${TOKEN}`,
  "i",
);

/** Ray casting as the published scorers have it: flat x, y pairs, edges in or out as it comes. */
export function insideRays({ x, y }: SharePoint, flat: readonly number[]): boolean {
  let isIn = false;
  const count = Math.floor(flat.length / 2);
  for (let i = 0, j = count - 1; i < count; j = i++) {
    const [xi, yi, xj, yj] = [flat[2 * i], flat[2 * i + 1], flat[2 * j], flat[2 * j + 1]];
    if (yi > y !== yj > y && x < ((xj - xi) * (y - yi)) / (yj - yi) + xi) isIn = !isIn;
  }
  return isIn;
}
