/**
 * Searches many records: a bounded number of trees grow at once over one pool of calls, and each
 * finished tree is appended to `trees.jsonl` in one write. What fails goes to `failures.jsonl` and
 * holds nobody up. A run that was stopped, or killed, goes on where it was: what succeeded is skipped,
 * the rest is done again. Neither order nor concurrency changes a tree, and at the end the lines stand
 * in the order of the records, whichever tree was finished first.
 */
import { programName } from "../core/paths.ts";
import { rm } from "node:fs/promises";
import { z } from "zod";
import { forEachBounded } from "../core/bounded.ts";
import { errno, VigorlError } from "../core/errors.ts";
import { inside } from "../core/inside.ts";
import { appendJsonl, orderJsonl, readJsonl, truncateJsonl } from "../core/jsonl.ts";
import type { Sampler } from "../engine/types.ts";
import type { EpisodeConfig } from "../task/episode-config.ts";
import type { TaskRecord } from "../task/record.ts";
import type { ReplyFaults } from "./meter.ts";
import { rulesOf, settingsOf, type SearchConfig } from "./search-config.ts";
import { searchTree } from "./search-tree.ts";
import { readTrees, type TreeLine } from "./tree-line.ts";
import { within } from "./within.ts";

export const treesFile = "trees.jsonl";
export const failuresFile = "failures.jsonl";

export const failureLineSchema = z.strictObject({
  version: z.literal(1),
  recordId: z.string(),
  code: z.string(),
  message: z.string(),
  seconds: z.number(),
});
export type FailureLine = z.infer<typeof failureLineSchema>;

export interface RunSearchOptions {
  /** Taken one by one as trees finish, so they need not fit in memory. Ids must differ. */
  readonly records: Iterable<TaskRecord> | AsyncIterable<TaskRecord>;
  readonly sampler: Sampler;
  readonly episode: EpisodeConfig;
  readonly config: SearchConfig;
  /** Gets the two files. */
  readonly folder: string;
  readonly seed: number;
  /** Go on with the trees that are in the folder already; else it must hold none. */
  readonly resume?: boolean;
  readonly signal?: AbortSignal;
  readonly onProgress?: (progress: SearchProgress) => void;
}

/** What a search has come to, over all trees in its folder. */
export interface SearchTotals {
  readonly trees: number;
  readonly failed: number;
  /** Trees with at least one correct answer. */
  readonly solved: number;
  /** Trees with at least one step. */
  readonly grown: number;
  readonly nodes: number;
  readonly calls: number;
  readonly modelTokens: number;
  /** Of this try alone. */
  readonly seconds: number;
}

/** The totals, and what belongs to this try alone: `done` of the trees, `skipped` were there before. */
export interface SearchProgress extends SearchTotals {
  readonly done: number;
  readonly skipped: number;
  readonly nodesPerSecond: number;
  /** Replies that could not be used, and what was wrong with the first. */
  readonly badReplies: number;
  readonly firstBadReply: string | null;
  /** Why the first tree failed. */
  readonly firstFailure: string | null;
}

/** The totals alone: of a search that was stopped and resumed, those of one that was not. */
export function totalsOf(progress: SearchProgress): SearchTotals {
  const { trees, failed, solved, grown, nodes, calls, modelTokens, seconds } = progress;
  return { trees, failed, solved, grown, nodes, calls, modelTokens, seconds };
}

/**
 * Searches all records.
 * @throws VigorlError("usage") for a folder whose trees were made with other settings or another seed,
 *   "io" where a file cannot be written, or the signal's reason; finished trees are on disk by then.
 */
export async function runSearch(options: RunSearchOptions): Promise<SearchProgress> {
  const { records, config, folder, signal } = options;
  const started = performance.now();
  const rules = rulesOf(config, options.episode);
  const earlier = await openTrees(options, JSON.stringify(settingsOf(rules, options.episode)));
  const faults: ReplyFaults = { count: 0, first: null };
  const counts = {
    ...earlier.counts,
    done: 0,
    skipped: 0,
    failed: 0,
    firstFailure: null as string | null,
  };
  const progress = (): SearchProgress => {
    const seconds = (performance.now() - started) / 1000;
    return {
      ...counts,
      badReplies: faults.count,
      firstBadReply: faults.first?.message ?? null,
      seconds,
      nodesPerSecond: (counts.nodes - earlier.counts.nodes) / seconds,
    };
  };
  // One line after the other, and none behind one that the disk did not take whole.
  let written = Promise.resolve();
  const append = async (file: string, line: TreeLine | FailureLine): Promise<void> => {
    written = written.then(() => appendJsonl(inside(folder, file), [line]));
    await written;
  };
  const keep = async (tree: TreeLine) => {
    await append(treesFile, tree);
    counts.done++;
    count(counts, tree);
  };
  const grow = async (record: TaskRecord, halt: AbortSignal): Promise<void> => {
    const since = performance.now();
    const tree = await within(config.run.treeTimeoutSeconds, halt, (inner) =>
      searchTree({ ...options, faults, record, rules, signal: inner }),
    ).catch((error: unknown) => {
      halt.throwIfAborted();
      if (!isFailure(error)) throw error;
      return failureOf(record, error, since);
    });
    if ("code" in tree) {
      counts.failed++;
      counts.firstFailure ??= tree.message;
      await append(failuresFile, tree);
    } else await keep(tree);
    if (counts.done + counts.failed >= TREES_BEFORE_GIVING_UP) requireGrowth(progress());
    options.onProgress?.(progress());
  };

  const seen = new Set<string>();
  await forEachBounded(records, config.run.trees, signal, async (record, halt) => {
    if (seen.has(record.id)) {
      throw new VigorlError("input", `two records have the id ${record.id}`, {
        hint: "give every record an id of its own",
      });
    }
    seen.add(record.id);
    if (earlier.ids.has(record.id)) counts.skipped++;
    else await grow(record, halt);
  });
  const ranks = new Map([...seen].map((id, rank) => [id, rank]));
  const rankOf = (line: unknown) =>
    ranks.get((line as { recordId: string }).recordId) ?? ranks.size;
  await orderJsonl(inside(folder, treesFile), rankOf);
  await orderJsonl(inside(folder, failuresFile), rankOf);
  return progress();
}

type Counts = Omit<SearchTotals, "failed" | "seconds">;

function count(counts: { -readonly [key in keyof Counts]: number }, tree: TreeLine): void {
  counts.trees++;
  if (tree.numCorrect > 0) counts.solved++;
  if (tree.numNodes > 1) counts.grown++;
  counts.nodes += tree.numNodes;
  counts.calls += tree.numCalls;
  counts.modelTokens += tree.numTokens.model;
}

/** Reads the failures of a folder whose records have no tree (yet). */
export async function readFailures(folder: string): Promise<FailureLine[]> {
  const done = new Set<string>();
  for await (const tree of treesOf(folder)) done.add(tree.recordId);
  const last = new Map<string, FailureLine>();
  const file = inside(folder, failuresFile);
  try {
    for await (const line of readJsonl(file, failureLineSchema, { allowTornLastLine: true }))
      if (!done.has(line.recordId)) last.set(line.recordId, line);
  } catch (error) {
    if (!isMissing(error)) throw error;
  }
  return [...last.values()];
}

/** What is in the folder already, a torn last line cut off. */
async function openTrees(
  { folder, resume, seed, sampler }: RunSearchOptions,
  settings: string,
): Promise<{ ids: Set<string>; counts: Counts }> {
  const ids = new Set<string>();
  const counts = { trees: 0, solved: 0, grown: 0, nodes: 0, calls: 0, modelTokens: 0 };
  const whole = () => true;
  const numLines = await truncateJsonl(inside(folder, treesFile), whole);
  if (numLines > 0 && resume !== true) {
    throw new VigorlError("usage", `${folder}: holds ${numLines} trees already`, {
      hint: "go on with --resume, or choose another --name",
    });
  }
  // What failed is tried again, and says itself whether it fails again.
  await rm(inside(folder, failuresFile), { force: true });
  for await (const tree of treesOf(folder)) {
    const isOurs = tree.seed === seed && tree.sampler === sampler.capabilities.name;
    if (!isOurs || JSON.stringify(tree.settings) !== settings) {
      throw new VigorlError(
        "usage",
        `${folder}: the tree of ${tree.recordId} was made with other settings or another seed`,
        { hint: "resume with the recipe it was started with, or choose another --name" },
      );
    }
    ids.add(tree.recordId);
    count(counts, tree);
  }
  return { ids, counts };
}

async function* treesOf(folder: string): AsyncGenerator<TreeLine> {
  try {
    yield* readTrees(inside(folder, treesFile));
  } catch (error) {
    if (!isMissing(error)) throw error;
  }
}

function isMissing(error: unknown): boolean {
  return (
    error instanceof VigorlError &&
    error.code === "io" &&
    (error.cause as NodeJS.ErrnoException | undefined)?.code === "ENOENT"
  );
}

/**
 * A tree may fail for its record's images or the sampler's connection. Anything else (a wrong key, a
 * request that no server takes, a bug) would fail every tree, and stops the run.
 */
function isFailure(error: unknown): boolean {
  if (error instanceof VigorlError) return error.code === "io" || error.code === "input";
  return error instanceof Error && (errno(error) ?? errno(error.cause)) !== undefined;
}

/** So many trees without a step, and no more are tried. */
const TREES_BEFORE_GIVING_UP = 20;

/**
 * Checks that a search has grown anything at all.
 * @throws VigorlError saying why it has not: all trees failed, or no reply was a step.
 */
export function requireGrowth(progress: SearchProgress): void {
  const { grown, failed, done, calls, badReplies, firstBadReply, firstFailure } = progress;
  if (grown > 0 || failed + done === 0) return;
  if (done === 0) {
    throw new VigorlError(
      "io",
      `search: all of the first ${failed} trees failed: ${firstFailure}`,
      {
        hint: "see failures.jsonl; once the cause is gone, go on with --resume",
      },
    );
  }
  const asked = calls + badReplies;
  const why =
    firstBadReply === null
      ? "no reply holds a thought with a place, a tool call or an answer"
      : `${badReplies} replies could not be used, the first because: ${firstBadReply}`;
  throw new VigorlError("input", `search: none of ${asked} calls gave a step: ${why}`, {
    hint: `try the teacher with ${programName} ask; its prompts are those of the recipe, and search.maxTokensPerStep bounds a reply`,
  });
}

function failureOf(record: TaskRecord, error: unknown, since: number): FailureLine {
  return {
    version: 1,
    recordId: record.id,
    code: error instanceof VigorlError ? error.code : "other",
    message: error instanceof Error ? error.message : String(error),
    seconds: (performance.now() - since) / 1000,
  };
}
