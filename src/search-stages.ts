/**
 * Search and linearize as stages of a recipe: the verbs are one stage each. A search run keeps its
 * recipe in its manifest, and linearize reads it from there, so that chains are cut with the settings
 * that the trees grew with.
 */
import { stat } from "node:fs/promises";
import { parseConfig, type Override } from "./core/config.ts";
import { VigorlError } from "./core/errors.ts";
import { removeUnfinished, writeFileAtomic } from "./core/files.ts";
import { inside, nameFrom } from "./core/inside.ts";
import { writeJsonl } from "./core/jsonl.ts";
import { findPath, programName } from "./core/paths.ts";
import { Progress } from "./core/progress.ts";
import { openRunFolder, type RunFolder } from "./core/run-folder.ts";
import { oneWriter } from "./core/run-lock.ts";
import { episodeConfig, needsOf, openPlanned, planEngine } from "./engine-plan.ts";
import { processorFolder, type EngineConfig } from "./engine/open.ts";
import { loadTasks, recipeSchema, type Recipe, type TaskSet } from "./recipe.ts";
import { compareWithSamples, type Comparison } from "./search/compare.ts";
import { linearize, type ChainLine, type LinearizeStats } from "./search/linearize.ts";
import type { LinearizeConfig } from "./search/linearize-config.ts";
import { fromRepoRecord, readRepoTrees } from "./search/repo-trees.ts";
import {
  requireGrowth,
  runSearch,
  totalsOf,
  treesFile,
  type SearchProgress,
} from "./search/run-search.ts";
import { readTrees, type TreeLine } from "./search/tree-line.ts";
import { treeCrops } from "./search/tree-crops.ts";
import { treeSvg } from "./search/tree-svg.ts";
import {
  writeChainParquet,
  writeShareGpt,
  type WriteChainsOptions,
} from "./search/write-chains.ts";
import { checkInputs, openRun, type StageOptions, type Staged } from "./stages.ts";
import type { TaskRecord } from "./task/record.ts";
import { pointCallName } from "./task/tools/table.ts";

export interface Searched extends SearchProgress {
  readonly folder: string;
  readonly compared?: Readonly<Record<string, Comparison>>;
}

/**
 * Grows a tree for each question. The teacher is `search.teacher`, or the engine itself. With
 * `compare`, the same questions are then asked in plain samples, task by task.
 */
export const searchStage = oneWriter(grow);

async function grow(
  options: StageOptions,
  engine: EngineConfig,
  tasks: readonly TaskSet[],
  { compare = false }: { readonly compare?: boolean } = {},
): Promise<Searched> {
  const { recipe, signal, quiet } = options;
  const { teacher, run: work } = recipe.search;
  const plan = await planEngine(
    recipe,
    teacher ?? engine,
    { ...needsOf("sample", recipe), purpose: "search" },
    { signal },
    teacher === undefined ? undefined : processorFolder(engine),
  );
  const { episode } = plan;
  const searched = tasks.map(({ task, records }) => ({
    task,
    records: records.slice(0, work.records ?? records.length),
  }));
  const records = searched.flatMap((set) => set.records);
  const inputs = await checkInputs(options, plan, searched);
  const sampler = await openPlanned(plan);
  try {
    const { run, resume } = await openRun(options, "search", plan, inputs);
    const progress = new Progress({ label: "search", total: records.length, unit: "trees", quiet });
    const result = await runSearch({
      records,
      sampler,
      episode,
      config: recipe.search,
      folder: run.path,
      seed: recipe.seed,
      resume,
      signal,
      onProgress: (now) => {
        const { done, skipped, failed, solved, nodesPerSecond } = now;
        progress.update(done + skipped + failed, { solved, failed, "nodes/s": nodesPerSecond });
      },
    }).finally(() => progress.finish());
    const summary = { ...result, folder: run.path };
    const totals = JSON.stringify(totalsOf(result), null, 2);
    await writeFileAtomic(run.file("search.json"), `${totals}\n`);
    requireGrowth(result);
    if (!compare) return summary;
    const compared: Record<string, Comparison> = {};
    for (const set of searched) {
      const byId = new Map(set.records.map((record) => [record.id, record]));
      compared[set.task] = await compareWithSamples({
        records: byId,
        trees: readTrees(run.file(treesFile)),
        sampler,
        episode,
        config: recipe.search,
        seed: recipe.seed,
        signal,
      });
    }
    await writeFileAtomic(run.file("compare.json"), `${JSON.stringify(compared, null, 2)}\n`);
    return { ...summary, compared };
  } finally {
    await sampler.close();
  }
}

export interface LinearizeStageOptions {
  /** Run folder of a search, or a tree file of the reference repository. */
  readonly run: string;
  readonly formats: readonly ("sharegpt" | "parquet" | "parquet-paths" | "svg")[];
  readonly overrides: readonly Override[];
  /** Default the run's folder. */
  readonly out?: string;
}

export interface Linearized {
  readonly stats: LinearizeStats;
  readonly files: readonly string[];
}

/**
 * Writes `chains.jsonl` and `chains.json` (the statistics), and the forms that are asked for.
 * @throws VigorlError("usage") where a form needs pictures and there is no run to take them from.
 */
export async function linearizeStage(options: LinearizeStageOptions): Promise<Linearized> {
  const path = findPath(options.run);
  const isFile = await stat(path).then(
    (entry) => entry.isFile(),
    () => false,
  );
  if (isFile) return linearizeFile(path, options);
  const out = options.out ?? path;
  return linearizeRun({ ...options, path: out }, await openRunFolder(path));
}

const linearizeRun = oneWriter(async (options: LinearizeInto, run: RunFolder) => {
  const { path: out } = options;
  const recipe = recipeOf(run, options.overrides);
  // What a kill left of an earlier try; nobody else writes here while this run holds the lock.
  for (const folder of [out, inside(out, "images"), inside(out, "trees")])
    await removeUnfinished(folder);
  const file = run.file(treesFile);
  const { chains, stats, files } = await writeChains(readTrees(file), recipe, out);
  const pictured = options.formats.filter((format) => format !== "svg");
  if (pictured.length > 0) {
    const written = { chains, ...(await recordsOf(recipe)) };
    for (const format of pictured) files.push(await writeForm(format, out, written));
  }
  if (options.formats.includes("svg")) {
    const { records } = await recordsOf(recipe);
    files.push(...(await drawTrees(file, records, chains, out)));
  }
  return { stats, files };
});

/** With the folder that the chains go to. */
interface LinearizeInto extends LinearizeStageOptions {
  readonly path: string;
}

/** The trees of the published search hold no pictures: chains come out as text. */
async function linearizeFile(
  path: string,
  { formats, overrides, out }: LinearizeStageOptions,
): Promise<Linearized> {
  if (formats.length > 0) {
    throw new VigorlError("usage", `${path}: a tree file holds no pictures for --format`, {
      hint: "write chains.jsonl alone, or search with vigorl and name the run folder",
    });
  }
  if (out === undefined)
    throw new VigorlError("usage", `${path}: say with --out where the chains go`);
  const recipe = parseConfig("{}", path, recipeSchema, overrides);
  const { records } = await readRepoTrees(path);
  const trees = records.map((record) => fromRepoRecord(record, { kind: "text" }));
  const { stats, files } = await writeChains(trees, recipe, out);
  return { stats, files };
}

async function writeChains(
  trees: Iterable<TreeLine> | AsyncIterable<TreeLine>,
  { linearize: config, seed, tools }: Pick<Recipe, "linearize" | "seed" | "tools">,
  out: string,
): Promise<{ chains: ChainLine[]; stats: LinearizeStats; files: string[] }> {
  const { chains, stats } = await linearize({
    trees,
    config,
    seed,
    toolName: pointCallName(tools),
  });
  const files = [inside(out, "chains.jsonl"), inside(out, "chains.json")];
  await writeJsonl(files[0], chains);
  const about: { stats: LinearizeStats; config: LinearizeConfig; seed: number } = {
    stats,
    config,
    seed,
  };
  await writeFileAtomic(files[1], `${JSON.stringify(about, null, 2)}\n`);
  return { chains, stats, files };
}

/** The questions of a run, by id; those of both splits, since a search may have run on either. */
async function recordsOf(recipe: Recipe): Promise<Omit<WriteChainsOptions, "chains">> {
  const records = new Map<string, TaskRecord>();
  for (const split of ["heldout", "train"] as const) {
    if (recipe.data[split].length === 0) continue;
    for (const { records: some } of await loadTasks(recipe, split))
      for (const record of some) records.set(record.id, record);
  }
  return { records, episode: await episodeConfig(recipe, processorFolder(recipe.engine)) };
}

async function writeForm(
  format: "sharegpt" | "parquet" | "parquet-paths",
  out: string,
  options: WriteChainsOptions,
): Promise<string> {
  if (format === "sharegpt") {
    const file = inside(out, "sharegpt.json");
    await writeShareGpt(file, options);
    return file;
  }
  const file = inside(out, `chains${format === "parquet" ? "" : "-paths"}.parquet`);
  await writeChainParquet(file, options, format === "parquet" ? "bytes" : "paths");
  return file;
}

/** Draws the first trees that gave chains. */
async function drawTrees(
  file: string,
  records: ReadonlyMap<string, TaskRecord>,
  chains: readonly ChainLine[],
  out: string,
): Promise<string[]> {
  const files: string[] = [];
  for await (const tree of readTrees(file)) {
    const own = chains.filter(({ recordId }) => recordId === tree.recordId);
    if (own.length === 0) continue;
    files.push(inside(out, "trees", `${nameFrom(tree.recordId)}.svg`));
    const record = records.get(tree.recordId);
    const crops = record === undefined ? new Map<string, string>() : await treeCrops(tree, record);
    await writeFileAtomic(files[files.length - 1], treeSvg(tree, { chains: own, crops }));
    if (files.length === maxDrawings) break;
  }
  return files;
}

const maxDrawings = 12;

function recipeOf(run: RunFolder, overrides: readonly Override[]): Recipe {
  const { verb, recipe } = run.manifest;
  if (verb !== "search") {
    throw new VigorlError("usage", `${run.path}: is a run of ${verb}, not of search`, {
      hint: `name the folder that ${programName} search wrote`,
    });
  }
  return parseConfig(JSON.stringify(recipe), `${run.path}/manifest.json`, recipeSchema, overrides);
}

/** Grows the trees and cuts them into chains, in the folder of the search. */
export async function growChains(
  options: StageOptions,
  engine: EngineConfig,
  training: readonly TaskSet[],
): Promise<Staged> {
  const { folder, solved, nodes, seconds } = await searchStage(options, engine, training);
  const { stats } = await linearizeStage({ run: folder, formats: [], overrides: [] });
  const chains = stats.kept.direct + stats.kept.backtrack;
  if (chains === 0) {
    throw new VigorlError("input", `${folder}: ${stats.trees} trees gave no chain`, {
      hint: "search more questions (search.run.records), or loosen the rules of linearize",
    });
  }
  const notes = { trees: stats.trees, solved, nodes, chains, backtracks: stats.kept.backtrack };
  return { folder, seconds, notes };
}
