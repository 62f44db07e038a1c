/**
 * Linearize as a stage: trees become chains, in the forms that trainers read. A search run keeps its
 * recipe in its manifest, and it is read from there, so that chains are cut with the settings that the
 * trees grew with.
 */
import { stat } from "node:fs/promises";
import { parseConfig, type Override } from "../core/config.ts";
import { VigorlError } from "../core/errors.ts";
import { removeUnfinished, writeFileAtomic } from "../core/files.ts";
import { inside, nameFrom } from "../core/inside.ts";
import { writeJsonl } from "../core/jsonl.ts";
import { findPath, programName } from "../core/paths.ts";
import { openRunFolder, type RunFolder } from "../core/run-folder.ts";
import { oneWriter } from "../core/run-lock.ts";
import { episodeConfig } from "../engine-plan.ts";
import { processorFolder } from "../engine/open.ts";
import { loadTasks, recipeSchema, type Recipe } from "../recipe.ts";
import { linearize, type ChainLine, type LinearizeStats } from "../search/linearize.ts";
import type { LinearizeConfig } from "../search/linearize-config.ts";
import { fromRepoRecord, readRepoTrees } from "../search/repo-trees.ts";
import { treesFile } from "../search/run-search.ts";
import { readTrees, type TreeLine } from "../search/tree-line.ts";
import { treeCrops } from "../search/tree-crops.ts";
import { treeSvg } from "../search/tree-svg.ts";
import {
  writeChainParquet,
  writeShareGpt,
  type WriteChainsOptions,
} from "../search/write-chains.ts";
import type { TaskRecord } from "../task/record.ts";
import { pointCallName } from "../task/tools/table.ts";

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

async function drawTrees(
  file: string,
  records: ReadonlyMap<string, TaskRecord>,
  chains: readonly ChainLine[],
  out: string,
): Promise<string[]> {
  const files: string[] = [];
  for (const { recordId, svg } of await drawnTrees(file, records, chains, maxDrawings)) {
    files.push(inside(out, "trees", `${nameFrom(recordId)}.svg`));
    await writeFileAtomic(files[files.length - 1], svg);
  }
  return files;
}

/** Drawings of the first trees that gave chains, with the crops that tools showed. */
export async function drawnTrees(
  file: string,
  records: ReadonlyMap<string, TaskRecord>,
  chains: readonly ChainLine[],
  most: number,
): Promise<{ readonly recordId: string; readonly svg: string }[]> {
  const drawn: { recordId: string; svg: string }[] = [];
  for await (const tree of readTrees(file)) {
    const own = chains.filter(({ recordId }) => recordId === tree.recordId);
    if (own.length === 0) continue;
    const record = records.get(tree.recordId);
    const crops = record === undefined ? new Map<string, string>() : await treeCrops(tree, record);
    drawn.push({ recordId: tree.recordId, svg: treeSvg(tree, { chains: own, crops }) });
    if (drawn.length === most) break;
  }
  return drawn;
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
