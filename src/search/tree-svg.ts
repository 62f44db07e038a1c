/**
 * A tree as an SVG drawing for pages and reports: the question on top, one box a step with what it
 * looked at, visits and mean reward, answers marked right or wrong, and the chains below. Everything a
 * model wrote is escaped. The drawing needs no script and no style from outside.
 */
import { escapeXml } from "../core/plain-text.ts";
import type { ChainLine } from "./linearize.ts";
import { correctReward, type NodeLine, type TreeLine } from "./tree-line.ts";

export interface TreeSvgOptions {
  /** Chains to write below the tree. */
  readonly chains?: readonly Pick<ChainLine, "kind" | "turns">[];
  /** What tools showed, as data URLs by the hash of the picture that came back. */
  readonly crops?: ReadonlyMap<string, string>;
  /** Characters of a step that are shown. */
  readonly maxChars?: number;
}

/** Draws a tree; the returned text is one `<svg>` element. */
export function treeSvg(tree: TreeLine, options: TreeSvgOptions = {}): string {
  const { chains = [], crops = new Map(), maxChars = 24 } = options;
  const boxes = layOut(tree.root);
  const depth = Math.max(...boxes.map(({ level }) => level));
  const treeWidth = Math.max(...boxes.map(({ x }) => x)) + BOX.width + MARGIN;
  const listed = chains.flatMap((chain, i) => chainLines(chain, i));
  const longest = Math.max(0, ...listed.map((line) => line.length));
  const width = Math.max(treeWidth, MARGIN * 2 + longest * 6.7, 320);
  const listTop = TOP + (depth + 1) * (BOX.height + GAP.y) + 12;
  const height = listTop + listed.length * 18 + (listed.length > 0 ? MARGIN : 0);
  return [
    `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 ${round(width)} ${round(height)}" width="${round(width)}" font-family="ui-monospace, monospace" font-size="11" role="img" aria-label="${escapeXml(`search tree of ${tree.recordId}`)}">`,
    `<rect width="100%" height="100%" fill="#ffffff"/>`,
    text(MARGIN, 20, cut(tree.question, 90), `font-size="13" fill="#1a1a1a"`),
    ...boxes.flatMap(({ parent, ...box }) => (parent === null ? [] : [edge(parent, box)])),
    ...boxes.map((box) => boxSvg(box, maxChars, crops)),
    ...listed.map((line, i) => text(MARGIN, listTop + 14 + i * 18, line, `fill="#333333"`)),
    "</svg>",
  ].join("\n");
}

const BOX = { width: 170, height: 50 };
/** Where a step shows its crop. */
const CROP = { x: 126, y: 5, side: 40 };
const GAP = { x: 14, y: 30 };
const MARGIN = 12;
const TOP = 34;

interface Place {
  readonly x: number;
  readonly y: number;
}

interface Box extends Place {
  readonly node: NodeLine;
  readonly level: number;
  readonly parent: Place | null;
}

/** Leaves side by side, parents over the middle of their children. */
function layOut(root: NodeLine): Box[] {
  const boxes: Box[] = [];
  let nextX = MARGIN;
  const put = (node: NodeLine, level: number): { x: number; at: number[] } => {
    const below = node.children.map((child) => put(child, level + 1));
    let x = nextX;
    if (below.length === 0) nextX += BOX.width + GAP.x;
    else x = (below[0].x + below[below.length - 1].x) / 2;
    const y = TOP + level * (BOX.height + GAP.y);
    const index = boxes.push({ node, level, x, y, parent: null }) - 1;
    for (const child of below)
      for (const i of child.at.slice(-1)) boxes[i] = { ...boxes[i], parent: { x, y } };
    return { x, at: [index] };
  };
  put(root, 0);
  return boxes;
}

function edge(from: Place, to: Place): string {
  const [x1, y1] = [round(from.x + BOX.width / 2), from.y + BOX.height];
  const [x2, y2] = [round(to.x + BOX.width / 2), to.y];
  const middle = (y1 + y2) / 2;
  return `<path d="M${x1} ${y1}C${x1} ${middle} ${x2} ${middle} ${x2} ${y2}" fill="none" stroke="#9aa3ad"/>`;
}

function boxSvg({ node, x, y }: Box, maxChars: number, crops: ReadonlyMap<string, string>): string {
  const { step } = node;
  const crop = crops.get(step?.picture?.imageHash ?? "");
  const fits = crop === undefined ? maxChars : Math.min(maxChars, Math.floor((CROP.x - 8) / 6.7));
  const isRight = node.rollouts.some(({ reward }) => reward >= correctReward);
  const answers = step !== null && step.answer !== null;
  const fill = !answers ? heat(node.value) : isRight ? "#d9f2df" : "#fbe1de";
  const mark = !answers ? "" : isRight ? "✓ " : "✗ ";
  const line = step === null ? "question" : (step.answer ?? step.think);
  const { tool = null, at = null } = step?.toolUse ?? {};
  const place = at === null ? "" : `${tool ?? ""} (${round(at.x)}, ${round(at.y)}) `;
  return [
    `<g><rect x="${round(x)}" y="${y}" width="${BOX.width}" height="${BOX.height}" rx="6" fill="${fill}" stroke="#6b7480"/>`,
    text(x + 8, y + 16, cut(mark + line, fits), `fill="#1a1a1a"`),
    text(x + 8, y + 30, place === "" ? "" : cut(place, fits), `fill="#0b5cad"`),
    ...(crop === undefined
      ? []
      : [
          `<image x="${round(x + CROP.x)}" y="${y + CROP.y}" width="${CROP.side}" height="${CROP.side}" href="${escapeXml(crop)}"><title>${escapeXml(`what ${tool ?? "the tool"} showed`)}</title></image>`,
        ]),
    text(x + 8, y + 43, `n ${node.visits}  Q ${node.value.toFixed(2)}`, `fill="#555555"`),
    `</g>`,
  ].join("");
}

function chainLines({ kind, turns }: Pick<ChainLine, "kind" | "turns">, index: number): string[] {
  const title = `chain ${index + 1}: ${kind}`;
  return [title, ...turns.map((turn) => `    ${cut(turn.replaceAll(/\s+/g, " "), 160)}`)];
}

/** White at 0, blue at 1. */
function heat(value: number): string {
  const level = Math.min(1, Math.max(0, value));
  return `hsl(210, 70%, ${Math.round(98 - 18 * level)}%)`;
}

function text(x: number, y: number, value: string, attributes: string): string {
  if (value === "") return "";
  return `<text x="${round(x)}" y="${round(y)}" xml:space="preserve" ${attributes}>${escapeXml(value)}</text>`;
}

function cut(value: string, maxChars: number): string {
  const plain = value.replaceAll(/\s/g, " ");
  const letters = Array.from(plain);
  return letters.length <= maxChars ? plain : `${letters.slice(0, maxChars - 1).join("")}…`;
}

function round(value: number): number {
  return Math.round(value * 10) / 10;
}
