/** Search as a stage of a recipe, alone or with its trees cut into chains. */
import { VigorlError } from "../core/errors.ts";
import { writeFileAtomic } from "../core/files.ts";
import { Progress } from "../core/progress.ts";
import { oneWriter } from "../core/run-lock.ts";
import { sayMemory } from "../engine-memory.ts";
import { needsOf, openPlanned, planEngine } from "../engine-plan.ts";
import { processorFolder, type EngineConfig } from "../engine/open.ts";
import type { TaskSet } from "../recipe.ts";
import { compareWithSamples, type Comparison } from "../search/compare.ts";
import {
  requireGrowth,
  runSearch,
  totalsOf,
  treesFile,
  type SearchProgress,
} from "../search/run-search.ts";
import { readTrees } from "../search/tree-line.ts";
import { checkInputs, openRun } from "./run.ts";
import { linearizeStage } from "./linearize.ts";
import type { StageOptions, Staged } from "./stage.ts";
import { firstRecords } from "../task/records.ts";

export interface Searched extends SearchProgress {
  readonly folder: string;
  readonly compared?: Readonly<Record<string, Comparison>>;
}

/**
 * Grows a tree for each question. The teacher is `search.teacher`, or the engine itself. With
 * `search.run.compare`, the same questions are then asked in plain samples, task by task.
 */
export const searchStage = oneWriter(grow);

async function grow(
  options: StageOptions,
  engine: EngineConfig,
  tasks: readonly TaskSet[],
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
  sayMemory(options, plan);
  const { episode } = plan;
  const searched = tasks.map(({ task, records }) => ({
    task,
    records: firstRecords(records, work.records ?? records.length),
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
    if (!work.compare) return summary;
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

/** Grows the trees and cuts them into chains, in the folder of the search. */
export async function growChains(
  options: StageOptions,
  engine: EngineConfig,
  training: readonly TaskSet[],
): Promise<Staged> {
  const searched = await searchStage(options, engine, training);
  const { folder, solved, nodes, seconds, modelTokens } = searched;
  const { stats } = await linearizeStage({ run: folder, formats: [], overrides: [] });
  const chains = stats.kept.direct + stats.kept.backtrack;
  if (chains === 0) {
    throw new VigorlError("input", `${folder}: ${stats.trees} trees gave no chain`, {
      hint: "search more questions (search.run.records), or loosen the rules of linearize",
    });
  }
  const { trees, kept } = stats;
  const tokens = modelTokens;
  const notes = { trees, solved, nodes, tokens, chains, backtracks: kept.backtrack };
  return { folder, seconds, notes };
}
