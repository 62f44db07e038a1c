/**
 * Trees into chains: finds all chains of each tree, drops what breaks a rule, what repeats another,
 * and what is not chosen, and counts every reason. Trees may come in any order; chains leave sorted by
 * record, so the same trees, rules and seed give the same bytes.
 */
import { z } from "zod";
import { stream } from "../core/random.ts";
import { contains, type Point, type Size } from "../image/frames.ts";
import { scanPoints } from "../text/points.ts";
import { ofVersion, recordPlaceSchema } from "../task/lines.ts";
import { pointToResized } from "../task/tools/place-args.ts";
import { dialects } from "../text/dialects/table.ts";
import {
  chainFaults,
  chainsOf,
  countedIn,
  type Chain,
  type ChainFault,
  type Found,
} from "./chains.ts";
import { chooseChains } from "./choose.ts";
import { findDuplicates } from "./duplicates.ts";
import type { LinearizeConfig } from "./linearize-config.ts";
import { repoChains } from "./linearize-repo.ts";
import { splice } from "./splice.ts";
import type { TreeLine } from "./tree-line.ts";

/** One line of `chains.jsonl`: what an assistant is to say to a record. */
const chainLine = z.strictObject({
  version: z.literal(2),
  /** Record id and position among its chains. */
  id: z.string(),
  recordId: z.string(),
  question: z.string(),
  category: z.string().nullable(),
  kind: z.enum(["direct", "backtrack"]),
  /** Texts of the assistant's turns; what the environment says follows from the tool calls in them. */
  turns: z.array(z.string()).min(1),
  answer: z.string(),
  places: z.array(recordPlaceSchema),
  /** What the teacher's tools returned, by hash, one a picture; empty where it saw none. */
  pictures: z.array(z.string()),
  /** Size of the picture whose pixels the text's coordinates count; null: unknown, or thousandths. */
  seen: z.strictObject({ widthPx: z.int(), heightPx: z.int() }).nullable().default(null),
  /** Characters of the turns that go the way that turned out wrong. */
  detours: z
    .array(z.strictObject({ turn: z.int().min(0), start: z.int().min(0), end: z.int().min(0) }))
    .default([]),
});
export type ChainLine = z.infer<typeof chainLine>;

export const chainLineSchema = ofVersion(2, chainLine);

/** What was found and kept, and why the rest was not. */
export interface LinearizeStats {
  readonly trees: number;
  /** Trees with a correct answer, and trees with a chain that is kept. */
  readonly solved: number;
  readonly treesWithChains: number;
  readonly found: Readonly<Record<Chain["kind"], number>>;
  readonly kept: Readonly<Record<Chain["kind"], number>>;
  readonly dropped: Readonly<Partial<Record<ChainFault, number>>>;
  /** How many kept chains have 1, 2, … turns. */
  readonly turns: Readonly<Record<string, number>>;
  readonly answers: Readonly<Record<string, number>>;
}

export interface LinearizeOptions {
  readonly trees: Iterable<TreeLine> | AsyncIterable<TreeLine>;
  readonly config: LinearizeConfig;
  readonly seed: number;
  /** The tool that spliced calls name. */
  readonly toolName?: string;
}

/** Turns trees into chains. Only chains are held in memory, no trees. */
export async function linearize(
  options: LinearizeOptions,
): Promise<{ chains: ChainLine[]; stats: LinearizeStats }> {
  const { config, seed, toolName = "search_coordinate" } = options;
  const dropped: Partial<Record<ChainFault, number>> = {};
  const found = { direct: 0, backtrack: 0 };
  const drop = (fault: ChainFault) => (dropped[fault] = (dropped[fault] ?? 0) + 1);
  const perTree: { recordId: string; chains: Chain[] }[] = [];
  const isRepo = config.profile === "repo";
  let solved = 0;
  for await (const tree of options.trees) {
    if (tree.numCorrect > 0) solved++;
    const all = findChains(tree, config, seed, toolName);
    for (const { kind, fault } of all) {
      found[kind]++;
      if (fault !== null) drop(fault);
    }
    const good = all.flatMap(({ chain }) => chain ?? []);
    // The published builder's own chains are a set of texts already.
    const chains = isRepo ? good : distinct(good, config, "within", drop);
    perTree.push({ recordId: tree.recordId, chains });
  }
  perTree.sort((a, b) => byId(a.recordId, b.recordId));
  const candidates = perTree.flatMap(({ chains }) => chains);
  const fresh = isRepo ? candidates : distinct(candidates, config, "across", drop);
  const chosen = chooseChains(fresh, config.choose, seed);
  const kept = fresh.filter((_, i) => chosen.has(i) || (drop("notChosen"), false));
  return { chains: numbered(kept), stats: statsOf(perTree.length, solved, found, kept, dropped) };
}

/** The chains of the reference builder for one tree, in our form. */
function publishedChains(tree: TreeLine, correction: string): Chain[] {
  return repoChains(tree, correction).map(({ kind, text, answer }) => ({
    recordId: tree.recordId,
    question: tree.question,
    category: tree.category,
    kind,
    turns: [text],
    answer,
    places: scanPoints(text).map(({ x, y }) => ({ picture: 0, x, y })),
    pictures: [],
    seen: countedIn(tree),
    detours: [],
  }));
}

function findChains(
  tree: TreeLine,
  config: LinearizeConfig,
  seed: number,
  toolName: string,
): Found[] {
  const ours = config.profile === "default";
  // The published builder counts a point on the far edge as inside.
  const isIn = ours ? contains : touches;
  const all: Found[] = ours
    ? chainsOf(tree, config)
    : publishedChains(tree, config.correction)
        .filter(({ kind }) => config[kind])
        .map((chain) => ({ kind: chain.kind, fault: null, chain }));
  if (config.turns !== "spliced" || tree.steps === "turn") return all;
  return all.map((one, i) => (one.fault === null ? spliced(one.chain, i) : one));

  function spliced(chain: Chain, index: number): Found {
    const { view } = tree;
    const { kind } = chain;
    const result = splice(chain.turns[0], {
      rules: config.splice,
      toolName,
      published: !ours,
      dialect: dialects[tree.dialect],
      isInside: (at) => view === null || isIn(view.resized, pointToResized(at, view)),
      random: stream(seed, "splice", tree.recordId, index),
    });
    return result.ok
      ? { kind, fault: null, chain: { ...chain, turns: result.turns, detours: [] } }
      : { kind, fault: result.fault, chain: null };
  }
}

function touches({ widthPx, heightPx }: Size, { x, y }: Point<"resized">): boolean {
  return x >= 0 && y >= 0 && x <= widthPx && y <= heightPx;
}

function distinct(
  chains: readonly Chain[],
  config: LinearizeConfig,
  where: "within" | "across",
  drop: (fault: ChainFault) => void,
): Chain[] {
  const texts = chains.map(({ question, turns, places }) => ({
    text: [...(where === "across" ? [question] : []), ...turns].join("\n"),
    places,
  }));
  const duplicates = findDuplicates(texts, {
    threshold: config.profile === "default" ? config.duplicates[where] : 1,
    radiusPx: config.repeatRadiusPx,
  });
  return chains.filter((_, i) => {
    const duplicate = duplicates[i];
    if (duplicate !== null) drop(duplicate === "exact" ? "exactDuplicate" : "nearDuplicate");
    return duplicate === null;
  });
}

function numbered(chains: readonly Chain[]): ChainLine[] {
  let last = "";
  let position = 0;
  return chains.map(({ turns, places, pictures, detours, ...chain }) => {
    position = chain.recordId === last ? position + 1 : 0;
    last = chain.recordId;
    return {
      version: 2,
      id: `${chain.recordId}#${position}`,
      ...chain,
      turns: [...turns],
      places: [...places],
      pictures: [...pictures],
      detours: [...detours],
    };
  });
}

function statsOf(
  trees: number,
  solved: number,
  found: LinearizeStats["found"],
  kept: readonly Chain[],
  dropped: Partial<Record<ChainFault, number>>,
): LinearizeStats {
  return {
    trees,
    solved,
    treesWithChains: new Set(kept.map(({ recordId }) => recordId)).size,
    found,
    kept: {
      direct: kept.filter(({ kind }) => kind === "direct").length,
      backtrack: kept.filter(({ kind }) => kind === "backtrack").length,
    },
    dropped: Object.fromEntries(
      chainFaults.flatMap((fault) =>
        dropped[fault] === undefined ? [] : [[fault, dropped[fault]]],
      ),
    ),
    turns: countsOf(kept.map(({ turns }) => String(turns.length))),
    answers: countsOf(kept.map(({ answer }) => answer)),
  };
}

function countsOf(values: readonly string[]): Record<string, number> {
  const counts = new Map<string, number>();
  for (const value of values) counts.set(value, (counts.get(value) ?? 0) + 1);
  return Object.fromEntries(
    [...counts].sort((a, b) => b[1] - a[1] || byId(a[0], b[0])).slice(0, 50),
  );
}

/** Numbers inside ids count as numbers: "search-9" comes before "search-10". */
function byId(a: string, b: string): number {
  return a.localeCompare(b, "en", { numeric: true }) || (a < b ? -1 : Number(a > b));
}
