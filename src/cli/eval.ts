/**
 * `vigorl eval`: a model on held-out questions, or on a published benchmark, with causal controls, to a
 * report; `--list` shows the benchmarks.
 */
import { setFlagsFromString } from "node:v8";
import { programName } from "../core/paths.ts";
import { VigorlError } from "../core/errors.ts";
import type { StageOptions } from "../stages/stage.ts";
import {
  textOf,
  wholeNumber,
  type Context,
  type Options,
  type Result,
  type Verb,
  spokenSections,
} from "./frame.ts";
import { dryRun } from "./dry-run.ts";
import { recipeCommand, recipeRun, sayResume, withUrl } from "./recipe-options.ts";

const keys = [...spokenSections, "eval"];

export function evalVerb(): Verb {
  return {
    command: withUrl(recipeCommand("eval", "evaluate a model, with causal controls, to a report"))
      .option("--benchmark <name>", "ask a published benchmark instead of data.heldout")
      .option("--data <folder>", "benchmark: where its files lie; default where data get puts them")
      .option("--protocol <name>", "benchmark: how it is asked and scored; default ours")
      .option("--split <name>", "benchmark: its split; default the one that is reported")
      .option("--limit <number>", "benchmark: only so many questions from the front")
      .option("--list", "show the benchmarks with size, metric, protocols and licence")
      .option(
        "--replay <run>",
        "score the replies of a finished run by every rule, without a model",
      )
      .option("--compare <runs...>", "two runs, or arms as run:arm: the paired difference")
      .option(
        "--leaks [training...]",
        "which questions occur in these datasets, or in data.train; exit code 3 where some do",
      ),
    keys,
    run: async (context, [recipePath], options) => {
      if (options.list === true) return listBenchmarks();
      if (options.replay !== undefined) return replay(String(options.replay));
      if (options.compare !== undefined) return compareArms(options.compare);
      const overrides = [...benchmarkOverrides(options), ...context.overrides];
      if (options.leaks !== undefined) return leaks(recipePath, options, { ...context, overrides });
      const { recipeToEvaluate } = await import("../recipe-of-model.ts");
      const found: string[] = [];
      const load = async (...asked: Parameters<typeof recipeToEvaluate>) => {
        const { recipe, notes } = await recipeToEvaluate(...asked);
        notes.forEach(context.say);
        found.push(...notes);
        return recipe;
      };
      const run = await recipeRun({ ...context, overrides }, recipePath, options, load);
      const stage = { ...run, notes: found };
      if (options.dryRun === true) return dryRun(stage.recipe, "eval", context, keys);
      return runEval(stage, context);
    },
  };
}

/** Evaluates, anew or going on. */
export async function runEval(stage: StageOptions, context: Context): Promise<Result> {
  await sayResume(stage, context.say);
  // Of many thousand questions little is kept. V8 would still let its heap grow to twice of what it
  // holds before it looks what can go.
  setFlagsFromString("--heap-growing-percent=20");
  const { runEvaluation } = await import("../pipeline.ts");
  const { reportText } = await import("../eval/report.ts");
  const { report, page } = await runEvaluation(stage, context.command);
  return { json: { ...report, page }, text: `${reportText(report)}\n\n${page}` };
}

/** The flags of a benchmark as the one source of `data.heldout`. */
function benchmarkOverrides(options: Options): { path: string; value: string }[] {
  const benchmark = textOf(options.benchmark);
  const flags = {
    folder: textOf(options.data),
    protocol: textOf(options.protocol),
    split: textOf(options.split),
    count: options.limit === undefined ? undefined : wholeNumber("--limit", options.limit, 1),
  };
  if (benchmark === undefined) {
    const given = Object.values(flags).some((value) => value !== undefined);
    if (!given) return [];
    throw new VigorlError("usage", "--data, --protocol, --split and --limit go with --benchmark", {
      hint: `${programName} eval --list shows the benchmarks`,
    });
  }
  return [{ path: "data.heldout", value: JSON.stringify([{ benchmark, ...flags }]) }];
}

async function listBenchmarks(): Promise<Result> {
  const { benchmarks } = await import("../eval/benchmarks/table.ts");
  const { benchmarkList } = await import("../eval/benchmarks/list.ts");
  return benchmarkList(benchmarks);
}

/** Questions of the evaluation that a training set holds. */
const SOME_LEAK = 3;

async function leaks(
  recipePath: string | undefined,
  options: Options,
  { overrides, signal, say }: Context,
): Promise<Result> {
  const { recipeAt, flagsOf } = await import("./recipe-options.ts");
  const { checkLeaks } = await import("../leaks.ts");
  const { leakLines, leakTable } = await import("../eval/leaks/table.ts");
  const { inside } = await import("../core/inside.ts");
  const recipe = await recipeAt(recipePath ?? "", [...flagsOf(options), ...overrides]);
  const given: unknown = options.leaks;
  const training = Array.isArray(given) ? given.map(String) : [];
  const file = inside(String(options.out), `${recipe.name}.leaks.json`);
  const onProgress = (trained: number) => {
    if (trained % 1000 === 0) say(`${trained} training questions compared`);
  };
  const found = await checkLeaks(recipe, training, file, { depth: "pixels", signal, onProgress });
  const text = [...leakTable(found), ...leakLines(found), file].join("\n");
  return { json: { ...found, file }, text, code: found.leaks.length === 0 ? 0 : SOME_LEAK };
}

async function replay(run: string): Promise<Result> {
  const { replayRun } = await import("../replay.ts");
  const { replayRows } = await import("../eval/replay.ts");
  const { textTable } = await import("../core/plain-text.ts");
  const { rows, page } = await replayRun(run);
  return { json: { rows, page }, text: `${textTable(replayRows(rows), 3).join("\n")}\n\n${page}` };
}

/** Pairs two runs, or arms of runs. */
export async function compareArms(runs: unknown): Promise<Result> {
  if (!Array.isArray(runs) || runs.length !== 2)
    throw new VigorlError("usage", "--compare takes two runs", {
      hint: `${programName} eval --compare runs/a runs/b, or arms as runs/a:sft runs/a:rl-zoom`,
    });
  const { compareRuns } = await import("../replay.ts");
  const { comparisonRows } = await import("../eval/compare-runs.ts");
  const { textTable } = await import("../core/plain-text.ts");
  const { spentText } = await import("../eval/spent.ts");
  const { names, compared } = await compareRuns(String(runs[0]), String(runs[1]));
  const table = textTable(comparisonRows(names, compared), 1).join("\n");
  const only = compared.map(
    ({ task, onlyOurs, onlyTheirs }) =>
      `${task}: ${onlyOurs.length} questions only ${names[0]} got right, ${onlyTheirs.length} only ${names[1]}`,
  );
  const took = compared.flatMap(({ task, spent }) =>
    spent.flatMap((one, i) =>
      one === null ? [] : [`${task}: ${names[i]} took ${spentText(one)}`],
    ),
  );
  return { json: { names, compared }, text: [table, "", ...only, ...took].join("\n") };
}
