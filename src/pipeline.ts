/**
 * The pipeline from a base model to a report: tree search, warm start on its chains and on plain
 * samples, the recipe's arms of GRPO, and the evaluation of all of them with the controls of its
 * main arm. Every stage leaves a file when it is done, so that a stopped pipeline goes on with the
 * stage it was in.
 */
import { cpus } from "node:os";
import { VigorlError } from "./core/errors.ts";
import { readJsonlAll } from "./core/jsonl.ts";
import { inside } from "./core/inside.ts";
import { formatDuration } from "./core/progress.ts";
import type { RunFolder } from "./core/run-folder.ts";
import { oneWriter } from "./core/run-lock.ts";
import { sayMemory } from "./engine-memory.ts";
import { needsOf, planEngine, type EnginePlan } from "./engine-plan.ts";
import { engineLabel, onWeights, type EngineConfig } from "./engine/open.ts";
import { isArmDone, readArm, readOutcomes } from "./eval/arm-files.ts";
import { benchmarkArm } from "./eval/benchmarks/arm-figures.ts";
import { askedUnder, type Asked, type Condition } from "./eval/controls.ts";
import { armOf, compareArms } from "./eval/count.ts";
import type { Evaluation } from "./eval/evaluate.ts";
import { answeredByBoth, onSameQuestions, perQuestion } from "./eval/outcome.ts";
import { optionOrderOf } from "./eval/option-order.ts";
import { Html } from "./eval/html.ts";
import { writeReport } from "./eval/report-files.ts";
import { percent } from "./eval/report-figures.ts";
import type { Arm, Comparison, Report } from "./eval/report.ts";
import { withOutcomes } from "./eval/with-records.ts";
import { leakNotes } from "./leaks.ts";
import { behaviourRules, loadTasks, warmArms, type Recipe, type TaskSet } from "./recipe.ts";
import { evaluateArms, planJudge, withJudge, type ArmPlan } from "./stages/evaluate.ts";
import { drawnTrees } from "./stages/linearize.ts";
import { rlStage } from "./stages/rl.ts";
import { stagedOnce } from "./stages/once.ts";
import { checkInputs, openRun } from "./stages/run.ts";
import { growChains } from "./stages/search.ts";
import { sftStage } from "./stages/sft.ts";
import type { Staged, StageOptions } from "./stages/stage.ts";
import { trainingOfModel, trainingOfPipeline } from "./stages/training-report.ts";
import { piecesOf, type Piece, type Questions } from "./pieces.ts";
import { PipelineClock, type Part } from "./pipeline-clock.ts";
import { recordWeights } from "./run-weights.ts";
import { chainLineSchema } from "./search/linearize.ts";
import { treesFile } from "./search/run-search.ts";

/** A finished report and the page it is shown on. */
export interface Reported {
  readonly report: Report;
  readonly page: string;
}

/**
 * Runs all stages; see the head of this file. Arms: base; sft on chains of the search, and sft-samples
 * on as many plain samples; the recipe's own runs of GRPO from either; the controls of its main one.
 */
export const runPipeline = oneWriter(runStages);

async function runStages(
  options: StageOptions,
  command: string,
  say: (line: string) => void,
): Promise<Reported> {
  const { recipe, signal } = options;
  const { trainable } = recipe.rl;
  const started = performance.now();
  const base = await planEngine(recipe, recipe.engine, needsOf("rl", recipe), {
    trainable,
    signal,
  });
  const judge = await planJudge(recipe, base, signal);
  const training = await loadTasks(recipe, "train");
  const heldout = await loadTasks(recipe, "heldout");
  refuseIdleControls(heldout, recipe);
  const inputs = await checkInputs(options, base, [...training, ...heldout]);
  const { run, resume } = await openRun(options, "demo", base, inputs);
  const trainedOn = (from: Staged) => onWeights(recipe.engine, from.weights ?? from.folder);
  const stage = (name: string, changes: Partial<Recipe> = {}): StageOptions => ({
    ...options,
    resume,
    recipe: { ...recipe, name, ...changes },
    path: run.stage(name),
  });
  const announce = (line: string) =>
    say(`[${formatDuration((performance.now() - started) / 1000)}] ${line}`);
  const done: Record<string, Staged> = {};
  const clock = new PipelineClock(partsOf(recipe, { train: training, heldout }));
  const begin = (what: string) => {
    const { count, left } = clock.begin();
    announce(`${count} ${what}${left}`);
  };
  const once = async (name: string, what: string, work: () => Promise<Staged>) => {
    begin(what);
    done[name] = await stagedOnce(run.path, name, work);
    clock.end(name, done[name].seconds);
    return done[name];
  };

  const search = await once("search", "tree search: the base model is its own teacher", () =>
    growChains(stage("search"), recipe.engine, training),
  );

  const samples = await once("sft-samples", "warm start on plain samples", () => {
    const maxExamples = Math.min(recipe.sft.collect.maxExamples, search.notes.chains);
    const collect = { ...recipe.sft.collect, maxExamples };
    const changed = stage("sft-samples", { sft: { ...recipe.sft, collect } });
    return sftStage(changed, recipe.engine, training);
  });
  const sft = await once("sft", "warm start on chains of the search", () => {
    const chains = { from: search.folder, maxExamples: samples.notes.examples };
    return sftStage(stage("sft"), recipe.engine, training, chains);
  });
  await recordWeights(run, sft.folder);

  const { main } = recipe.demo;
  const warmStarts = { sft, "sft-samples": samples };
  for (const [name, { from, tools, steps = recipe.rl.steps }] of Object.entries(recipe.demo.arms)) {
    const changes = { ...(tools ? {} : { tools: {} }), rl: { ...recipe.rl, steps } };
    const { folder } = await once(name, `GRPO: ${name}`, () =>
      rlStage(stage(name, changes), trainedOn(warmStarts[from]), training, name),
    );
    if (name === main) await recordWeights(run, folder);
  }

  const model = (arm: string): ArmPlan => ({ arm, condition: "none", tools: true });
  const ofArm = (name: string): [EngineConfig, ArmPlan[]] => {
    const { tools } = recipe.demo.arms[name];
    const controls = name === main ? controlsOf(recipe) : [];
    return [trainedOn(done[name]), [{ ...model(name), tools }, ...controls]];
  };
  const others = Object.keys(recipe.demo.arms).filter((name) => name !== main);
  const plans: [EngineConfig, ArmPlan[]][] = [
    [recipe.engine, [model("base")]],
    [trainedOn(sft), [model("sft")]],
    [trainedOn(samples), [model("sft-samples")]],
    ...[...others, main].map(ofArm),
  ];
  const evaluations = await evaluateAll({ ...options, path: run.path }, plans, heldout, judge, {
    begin: (arms) => begin(`evaluation: ${arms.join(", ")}`),
    tell: announce,
    end: ([arm], seconds) => clock.end(evaluationOf(arm), seconds),
  });
  const head = reportHead(run, command, base.engine);
  const report = {
    ...head,
    facts: { ...head.facts, ...stageFacts(done), ...notAsked(heldout, recipe) },
    main,
    base: "base",
    armTexts: armTexts(recipe),
    ...(await results(run.path, evaluations, heldout, main, [
      warmArms,
      ...[...others, "sft", "base", ...recipe.eval.controls.slice(0, 1)].map(
        (against) => [main, against] as const,
      ),
    ])),
    ...(await trainingOfPipeline(run, [main, ...others], recipe.rl.alarms)),
  };
  const extras = { rules: behaviourRules(recipe), trees: await treesOf(run, training) };
  return { report, page: await writeReport(run.path, report, heldout, extras) };
}

/** What is begun and ended as one: each stage, then the evaluation of each model. */
function partsOf(recipe: Recipe, questions: Questions): Part[] {
  const pieces = piecesOf("demo", recipe, questions);
  const { main } = recipe.demo;
  const parts = new Map<string, Piece[]>();
  for (const piece of pieces) {
    const { kind, stage } = piece;
    const ofMain = recipe.eval.controls.some((control) => control === stage);
    const name = kind === "eval" ? evaluationOf(ofMain ? main : stage) : stage;
    parts.set(name, [...(parts.get(name) ?? []), piece]);
  }
  return [...parts].map(([name, own]) => ({ name, pieces: own }));
}

function evaluationOf(arm: string): string {
  return `evaluation of ${arm}`;
}

/** What the arms of a pipeline are, for readers of its report. */
function armTexts({ demo }: Recipe): Record<string, string> {
  const trained = Object.entries(demo.arms).map(([name, { from, tools, steps }]) => [
    name,
    `${from} after GRPO ${tools ? "with" : "without"} tools${steps === undefined ? "" : `, ${steps} steps`}`,
  ]);
  return {
    base: "the model that training starts from",
    sft: "base after a warm start on chains of the search",
    "sft-samples": "base after a warm start on as many of its own right answers",
    ...(Object.fromEntries(trained) as Record<string, string>),
  };
}

/** Evaluates the recipe's engine with the recipe's controls; arms: model and the controls. */
export const runEvaluation = oneWriter(evaluateRecipe);

async function evaluateRecipe(options: StageOptions, command: string): Promise<Reported> {
  const { recipe, signal } = options;
  const needs = { ...needsOf("sample", recipe), purpose: "eval" };
  const plan = await planEngine(recipe, recipe.engine, needs, { signal });
  sayMemory(options, plan);
  const judge = await planJudge(recipe, plan, signal);
  const heldout = await loadTasks(recipe, "heldout");
  refuseIdleControls(heldout, recipe);
  const inputs = await checkInputs(options, plan, heldout);
  const { run } = await openRun(options, "eval", plan, inputs);
  const leaks = await leakNotes(recipe, heldout, run.file("leaks.json"), signal);
  const arm: ArmPlan = { arm: "model", condition: "none", tools: true };
  const plans: [EngineConfig, ArmPlan[]][] = [[recipe.engine, [arm, ...controlsOf(recipe)]]];
  const evaluations = await evaluateAll({ ...options, path: run.path }, plans, heldout, judge);
  const head = reportHead(run, command, plan.engine);
  const report = {
    ...head,
    facts: { ...head.facts, ...leaks.facts, ...notAsked(heldout, recipe) },
    ...(leaks.warnings.length > 0 && { warnings: leaks.warnings }),
    main: arm.arm,
    ...(await results(
      run.path,
      evaluations,
      heldout,
      arm.arm,
      recipe.eval.controls.map((control) => ["model", control]),
    )),
    ...(await trainingOfModel(plan.folder)),
  };
  const extras = { rules: behaviourRules(recipe) };
  return { report, page: await writeReport(run.path, report, heldout, extras) };
}

/** What a finished arm was asked. */
interface Evaluated {
  readonly condition: Condition;
  readonly asked: Asked;
}

/** Finished arms by task, then by name, in the order of the plans. */
type Evaluations = Map<string, Map<string, Evaluated>>;

function controlsOf(recipe: Recipe): ArmPlan[] {
  return recipe.eval.controls.map((condition) => ({ arm: condition, condition, tools: true }));
}

interface EvaluationListeners {
  /** The arms of one model, before they are evaluated. */
  readonly begin: (arms: readonly string[]) => void;
  readonly tell: (line: string) => void;
  /** How long they took; null where all were finished before. */
  readonly end: (arms: readonly string[], seconds: number | null) => void;
}

const none = (): void => undefined;

async function evaluateAll(
  options: StageOptions,
  plans: readonly [engine: EngineConfig, plans: ArmPlan[]][],
  heldout: readonly TaskSet[],
  judge: EnginePlan | undefined,
  { begin, tell, end }: EvaluationListeners = { begin: none, tell: none, end: none },
): Promise<Evaluations> {
  const evaluations: Evaluations = new Map(heldout.map(({ task }) => [task, new Map()]));
  const needs = { ...needsOf("sample", options.recipe), purpose: "eval" };
  const askedOf = ({ condition }: ArmPlan, { records }: TaskSet) =>
    askedUnder(condition, records, options.recipe.seed);
  for (const [engine, arms] of plans) {
    begin(arms.map(({ arm }) => arm));
    const open = arms.filter((plan) =>
      heldout.some(
        (set) =>
          askedOf(plan, set).records.length > 0 && !isArmDone(options.path, set.task, plan.arm),
      ),
    );
    const since = performance.now();
    if (open.length > 0) {
      const plan = await planEngine(options.recipe, engine, needs, { signal: options.signal });
      const told = (task: string, arm: string, { outcomes }: Evaluation): void => {
        const right = outcomes.reduce((sum, outcome) => sum + outcome.score, 0);
        tell(`${task} · ${arm}: ${percent(right / outcomes.length)}`);
      };
      await withJudge(options, judge, (asked) =>
        evaluateArms(options, plan, open, heldout, told, asked),
      );
    }
    const names = arms.map(({ arm }) => arm);
    end(names, open.length === 0 ? null : (performance.now() - since) / 1000);
    for (const plan of arms)
      for (const set of heldout) {
        const { arm, condition } = plan;
        const asked = askedOf(plan, set);
        if (asked.records.length === 0) continue;
        evaluations.get(set.task)?.set(arm, { condition, asked });
      }
  }
  return evaluations;
}

/** Reads the arms one after the other, so that only two are held at once. */
async function results(
  run: string,
  evaluations: Evaluations,
  heldout: readonly TaskSet[],
  main: string,
  pairs: readonly (readonly [arm: string, against: string])[],
): Promise<Pick<Report, "arms" | "comparisons">> {
  const arms: Arm[] = [];
  const comparisons: Comparison[] = [];
  for (const [task, byArm] of evaluations) {
    const { benchmark } = heldout.find((set) => set.task === task) ?? {};
    const answered = (arm: string, { records }: Asked) =>
      withOutcomes(records, readOutcomes(run, task, arm));
    for (const [arm, { condition, asked }] of byArm) {
      const own = byArm.get(main);
      const order =
        condition === "options-shuffled" && own !== undefined
          ? await optionOrderOf(answered(main, own.asked), answered(arm, asked), asked.leftOut)
          : null;
      const figures = benchmark && (await benchmarkArm(benchmark, answered(arm, asked)));
      arms.push(
        armOf(arm, task, await readArm(run, task, arm), {
          ...(figures && { benchmark: figures }),
          ...(order && { options: order }),
        }),
      );
    }
    const known = pairs.filter((pair) => pair.every((arm) => byArm.has(arm)));
    for (const [arm, against] of known) {
      const [ours, theirs] = [await readArm(run, task, arm), await readArm(run, task, against)];
      const [a, b] = onSameQuestions(perQuestion(ours.outcomes), perQuestion(theirs.outcomes));
      if (answeredByBoth(a, b).length > 0)
        comparisons.push(compareArms(task, [arm, a], [against, b]));
    }
  }
  return { arms, comparisons };
}

/** Controls that a task has no questions for, with the reasons. */
function notAsked(heldout: readonly TaskSet[], { eval: { controls }, seed }: Recipe) {
  const facts: Record<string, string> = {};
  for (const { task, records } of heldout)
    for (const control of controls) {
      const { records: asked, leftOut } = askedUnder(control, records, seed);
      if (asked.length > 0) continue;
      const why = Object.entries(leftOut).map(([reason, count]) => `${count} questions ${reason}`);
      facts[`${task}, ${control}: not asked`] = why.join(", ");
    }
  return facts;
}

/** @throws VigorlError("usage") for a control that no held-out question can be asked under */
function refuseIdleControls(heldout: readonly TaskSet[], recipe: Recipe): void {
  const none = notAsked(heldout, recipe);
  for (const control of recipe.eval.controls) {
    const reasons = heldout.flatMap(({ task }) => none[`${task}, ${control}: not asked`] ?? []);
    if (reasons.length < heldout.length) continue;
    throw new VigorlError(
      "usage",
      `eval.controls: ${control} asks nothing: ${reasons.join("; ")}`,
      {
        hint: `leave ${control} out`,
      },
    );
  }
}

function reportHead(
  run: RunFolder,
  command: string,
  engine: EngineConfig,
): Pick<Report, "version" | "title" | "command" | "createdAt" | "facts"> {
  const { name, seed, gitCommit, versions } = run.manifest;
  const { libtorch, blas } = versions;
  const [processor] = cpus();
  return {
    version: 1,
    title: name,
    command,
    createdAt: new Date()
      .toISOString()
      .replace(/:\d\d\.\d+Z$/, " UTC")
      .replace("T", " "),
    facts: {
      "start model": engineLabel(engine),
      seed: String(seed),
      vigorl: `${versions.vigorl ?? ""}${gitCommit === null ? "" : ` (${gitCommit.slice(0, 12)}${gitCommit.endsWith("-dirty") ? ", changed" : ""})`}`,
      node: process.version,
      engine: engineFacts(engine),
      ...(libtorch === undefined ? {} : { libtorch: `${libtorch}, ${blas ?? ""}` }),
      machine: `${cpus().length} × ${processor?.model.trim() ?? "unknown"}`,
    },
  };
}

/** The keys of an engine's section that say where and how it computes. */
function engineFacts(engine: EngineConfig): string {
  const shown = ["kind", "server", "device", "dtype", "threads", "maxPositions", "slots"];
  const values = new Map<string, unknown>(Object.entries(engine));
  return shown
    .filter((key) => values.has(key))
    .map((key) => `${key} ${String(values.get(key))}`)
    .join(", ");
}

function stageFacts(stages: Readonly<Record<string, Staged>>): Record<string, string> {
  return Object.fromEntries(
    Object.entries(stages).map(([name, { seconds, notes }]) => {
      const words = Object.entries(notes).map(([note, value]) => `${value} ${note}`);
      return [name, [formatDuration(seconds), ...words].join(", ")];
    }),
  );
}

/** Trees of the search for the page of a pipeline. */
async function treesOf(run: RunFolder, training: readonly TaskSet[]): Promise<Html[]> {
  const search = run.stage("search");
  const chains = await readJsonlAll(inside(search, "chains.jsonl"), chainLineSchema);
  const records = new Map(training.flatMap((set) => [...set.records]).map((one) => [one.id, one]));
  const drawn = await drawnTrees(inside(search, treesFile), records, chains, NUM_TREES);
  // What a model wrote is escaped in them.
  return drawn.map(({ svg }) => new Html(svg));
}

const NUM_TREES = 3;
