/**
 * Tool calls put into chains that were thought without the tool, as published: each new place becomes a
 * call, behind the sentence that names it, and its crop is cut afterwards. A further place of the same
 * sentence gets a call of its own, whose thought is the sentence from there on. The thoughts were
 * written by a model that had not seen the crops; search with the tool in the tree instead where you
 * can.
 * differs from the published builder, which crashes on every point answer, lets the answer block into
 * the last thought, and turns an answer's point into a call: only thoughts are read here. Chains with
 * an empty thought or a place outside the image are refused; without `published`, those that name no
 * place are, too.
 */
import type { Rng } from "../core/random.ts";
import type { Dialect } from "../text/dialects/dialect.ts";
import { formatTurn, parseTurn } from "../text/grammar.ts";
import { scanPoints } from "../text/points.ts";
import { sentenceEnd } from "../text/sentences.ts";
import { hasTag } from "./chains.ts";
import type { LinearizeConfig } from "./linearize-config.ts";

export interface SpliceOptions {
  readonly rules: LinearizeConfig["splice"];
  readonly toolName: string;
  /** Read places as the published builder does, and keep chains that name none as one turn. */
  readonly published?: boolean;
  readonly dialect: Dialect;
  /** Whether a place, as written, lies in the image. */
  readonly isInside: (at: { readonly x: number; readonly y: number }) => boolean;
  readonly random: Rng;
}

export type Spliced =
  | { readonly ok: true; readonly turns: string[] }
  | { readonly ok: false; readonly fault: "emptyThought" | "tagInThought" | "noPoint" | "outside" };

/** Cuts a single-turn chain into turns. Coordinates become whole numbers, cut off, not rounded. */
export function splice(chain: string, options: SpliceOptions): Spliced {
  const { rules, toolName, dialect, isInside, random, published = false } = options;
  const mode = published ? "builder" : "strict";
  // Between sentences that belong to one call.
  const gap = published ? "\n\n" : " ";
  const parsed = parseTurn(chain, dialect);
  const answer = parsed.answer?.text ?? "";
  const body = parsed.thinks.join(" ");
  if (!published && hasTag(body)) return { ok: false, fault: "tagInThought" };
  const calls: string[] = [];
  const used = new Set<string>();
  let cursor = 0;
  let think = "";
  for (const point of scanPoints(body, mode)) {
    const [x, y] = [Math.trunc(point.x), Math.trunc(point.y)];
    const isNew = !used.has(`${x},${y}`) && used.size < rules.maxToolCalls;
    const end = sentenceEnd(body, point.end);
    const isFurther = point.start < cursor;
    if (published || !isFurther)
      think = joined(think, body.slice(Math.min(cursor, point.start), end), gap);
    else if (isNew && think === "") think = body.slice(point.start, end).trim();
    cursor = end;
    if (!isNew) continue;
    if (!isInside({ x, y })) return { ok: false, fault: "outside" };
    used.add(`${x},${y}`);
    const toolCall = { name: toolName, args: { coordinate: [x, y] } };
    calls.push(formatTurn({ think, toolCall }, "inline", dialect));
    think = "";
  }
  if (body.trim() === "") return { ok: false, fault: "emptyThought" };
  if (calls.length === 0) {
    if (!published) return { ok: false, fault: "noPoint" };
    return { ok: true, turns: [formatTurn({ think: body.trim(), answer }, "inline", dialect)] };
  }
  const rest = rules.keepRest ? joined(think, body.slice(cursor), gap) : "";
  const last = formatTurn(
    { think: rest === "" ? rules.lastThink : rest, answer },
    "inline",
    dialect,
  );
  return { ok: true, turns: [...moved(calls, rules.moveFirstCall, random), last] };
}

/**
 * A turn with the places of its prose and of its call in an image of another size: whole numbers, cut
 * off, not rounded, as published.
 */
export function rescaled(turn: string, scale: { readonly x: number; readonly y: number }): string {
  const moved = (x: string, y: string) =>
    `${Math.trunc(Number(x) * scale.x)}, ${Math.trunc(Number(y) * scale.y)}`;
  return turn
    .replaceAll(PROSE_POINT, (_, x: string, y: string) => `(${moved(x, y)})`)
    .replaceAll(CALL_POINT, (_, key: string, x: string, y: string) => `${key}[${moved(x, y)}]`);
}

const PROSE_POINT = /\(\s*(\d+(?:\.\d*)?)\s*,\s*(\d+(?:\.\d*)?)\s*\)/g;
const CALL_POINT = /(\bcoordinate\b[^[\]]{0,20})\[\s*(\d+)\s*,\s*(\d+)\s*\]/g;

function joined(a: string, b: string, gap: string): string {
  return [a, b.trim()].filter((part) => part !== "").join(gap);
}

/**
 * With the given probability, the first turn goes to any place among the calls but the last, its own
 * included; of two calls nothing moves. As published.
 */
function moved(calls: readonly string[], probability: number, random: Rng): string[] {
  if (calls.length < 2 || !random.chance(probability)) return [...calls];
  const [first, ...rest] = calls;
  const to = random.int(0, rest.length - 1);
  return [...rest.slice(0, to), first, ...rest.slice(to)];
}
