/**
 * What the traces of a run show of how the model looks: counted by rules, and by a model where one is
 * named, over the arms of an evaluation, the steps of training, or chains; one run, or two against each
 * other. Runs are only read, so one that is still going on can be looked at too.
 */
import { existsSync } from "node:fs";
import { join, resolve } from "node:path";
import { mapBounded } from "./core/bounded.ts";
import { VigorlError } from "./core/errors.ts";
import { writeFileAtomic } from "./core/files.ts";
import { readJsonl } from "./core/jsonl.ts";
import { Progress } from "./core/progress.ts";
import { whileOpen } from "./engine-plan.ts";
import { engineLabel, type EngineConfig } from "./engine/open.ts";
import {
  choose,
  type Observation,
  type ObservedGroup,
  type TraceChoice,
} from "./eval/behaviours/figures.ts";
import { judgementsOf } from "./eval/ask-model.ts";
import { behaviourJudge, judgeMaxTokens, type BehaviourJudge } from "./eval/behaviours/judge.ts";
import { observeChain, thoughtsOf } from "./eval/behaviours/observe.ts";
import { behaviourSection } from "./eval/behaviours/section.ts";
import {
  BehaviourWatch,
  mainAgainstOthers,
  summarise,
  type BehaviourReport,
  type GroupName,
  type SummaryOptions,
} from "./eval/behaviours/watch.ts";
import { isRight } from "./eval/outcome.ts";
import { html } from "./eval/html.ts";
import { pageUri, recordPicturesOf, viewOf } from "./eval/report-files.ts";
import { pageHtml } from "./eval/report-html.ts";
import { reportCss } from "./eval/report-style.ts";
import { imageStore, type PageImage, type TraceView } from "./eval/report-trace.ts";
import { decodeImage } from "./image/decode.ts";
import { pictureFile } from "./image/picture-file.ts";
import { behaviourRules } from "./recipe.ts";
import { groupOfRun } from "./replay.ts";
import { openTraced, planAsked, tracesOfRun, type TracedRun } from "./run-traces.ts";
import { chainLineSchema } from "./search/linearize.ts";
import type { Trace } from "./task/trace.ts";

export interface BehaviourOptions {
  /** One run or two, each as `runs/a` or `runs/a:group`. */
  readonly runs: readonly string[];
  readonly over: TraceChoice;
  readonly limit: number | null;
  /** A model that counts, too. */
  readonly judge: EngineConfig | null;
  /** Calls of the judge in flight at once: of four questions each. */
  readonly concurrency: number;
  readonly command: string;
  readonly quiet: boolean;
  readonly signal: AbortSignal;
}

/**
 * Counts, and leaves behaviours.json and behaviours.html in the folder of the first run.
 * @throws VigorlError("usage") where a run holds no traces, or not the group that is named; "input" where
 *   no trace is left to count
 */
export async function countBehaviours(
  options: BehaviourOptions,
): Promise<{ report: BehaviourReport; page: string }> {
  const { runs, over, limit, signal, quiet } = options;
  const sources = await Promise.all(runs.map(openTraced));
  const [first, second] = sources;
  if (second !== undefined && first.group === second.group && isSame(first.path, second.path))
    throw new VigorlError("usage", `${first.label} would be compared with itself`, {
      hint: `name two groups of it, as ${first.path}:sft and ${first.path}:rl-tools`,
    });
  const rules = behaviourRules(first.recipe);
  const watch = new BehaviourWatch(rules, runs.length === 1 ? first.main : undefined);
  const pictures: Pictures = new Map();
  for (const source of sources) await watchRun(source, runs.length > 1, watch, pictures, options);
  const all = watch.groups();
  let chosen = choose(all, over, limit, first.recipe.seed);
  if (chosen.every(({ observations }) => observations.length === 0))
    throw new VigorlError("input", `${runs.join(", ")}: no trace has a right answer`, {
      hint: "count all of them, with --traces all",
    });
  let judgeName: string | null = null;
  if (options.judge !== null) {
    const { judge } = options;
    const plan = await planAsked(first.recipe, judge, signal);
    judgeName = engineLabel(plan.engine);
    const folder = judgementsOf(first.path);
    const named = { name: judgeName, chat: plan.episode.chat, maxTokens: judgeMaxTokens, folder };
    chosen = await whileOpen(plan, (sampler) =>
      judged(chosen, behaviourJudge({ ...named, sampler }), options.concurrency, quiet, signal),
    );
  }
  const against = runs.length === 1 ? withinRun(first.main) : acrossRuns(runs);
  const report = summarise(chosen, all, { over, limit, rules, judge: judgeName, against });
  if (runs.length > 1 && report.differences.length === 0)
    throw new VigorlError("usage", `${runs.join(" and ")} have no group in common`, {
      hint: `they hold ${all.map(({ task, group }) => `${group} (${task})`).join(", ")}; name one of each, as run:group`,
    });
  return { report, page: await writePage(first, options.command, report, watch, pictures) };
}

function isSame(a: string, b: string): boolean {
  return resolve(a) === resolve(b);
}

/** Where a page finds pictures of the records, by hash: as the model saw them, with the original's size. */
type Pictures = Map<string, { folder: string; widthPx: number; heightPx: number }>;

/** Counts all traces of a run, or of the group that is named. Of two runs, groups carry the run's name. */
async function watchRun(
  source: TracedRun,
  isOneOfTwo: boolean,
  watch: BehaviourWatch,
  pictures: Pictures,
  { judge, signal }: BehaviourOptions,
): Promise<void> {
  const { path, arms, main } = source;
  // Two evaluations are compared by what they are about.
  const only = source.group ?? (isOneOfTwo && arms.length > 0 ? (main ?? null) : null);
  const nameOf = (task: string, group: string): GroupName => ({
    task,
    group: isOneOfTwo ? `${path}:${group}` : group,
  });
  const found = new Set<string>();
  const isWanted = (group: string) => {
    found.add(group);
    return only === null || group === only;
  };
  const withThoughts = (one: Observation, turns: Parameters<typeof thoughtsOf>[0]): Observation =>
    judge === null ? one : { ...one, thoughts: thoughtsOf(turns) };
  const onArm = (task: string, arm: string, asked: number) =>
    watch.tellAsked(nameOf(task, arm), asked);
  for await (const one of tracesOfRun(source, { signal, isWanted, onArm })) {
    const { folder, trace, score } = one;
    const name = nameOf(one.task, one.group);
    const view = viewOfTrace(trace, name, score ?? trace.reward?.accuracy ?? 0);
    for (const { imageHash, box } of view === null ? [] : recordPicturesOf(trace.pictures))
      if (!pictures.has(imageHash))
        pictures.set(imageHash, { folder, widthPx: box[2], heightPx: box[3] });
    const right = score === null ? null : isRight({ score });
    const counted = watch.count({ ...name, trace, isRight: right, view });
    watch.keep(name, withThoughts(counted, trace));
  }
  const chains = join(path, "chains.jsonl");
  if (existsSync(chains))
    for await (const chain of readJsonl(chains, chainLineSchema)) {
      signal.throwIfAborted();
      const group = `${chain.kind}-chains`;
      if (!isWanted(group)) continue;
      const observation = observeChain(chain, watch.rules);
      watch.keep(nameOf("search", group), withThoughts(observation, chainTurns(chain)));
    }
  refuseNothing(source, only, [...found], watch);
}

function chainTurns({ turns }: { readonly turns: readonly string[] }) {
  return { turns: turns.map((text) => ({ text })) };
}

function refuseNothing(
  { label, path }: TracedRun,
  only: string | null,
  found: readonly string[],
  watch: BehaviourWatch,
): void {
  if (only !== null && !found.includes(only))
    throw new VigorlError("usage", `${path} has no group ${only}`, {
      hint:
        found.length === 0
          ? "it holds no traces"
          : `it has ${found.join(", ")}; name one as ${path}:${found[0]}`,
    });
  const isEmpty = watch.groups().every(({ observations }) => observations.length === 0);
  if (found.length > 0 && !isEmpty) return;
  throw new VigorlError("usage", `${label}: holds no traces`, {
    hint: "name a run of eval, rl, search or demo, or a stage of one, such as runs/demo/rl-tools",
  });
}

function viewOfTrace(trace: Trace, { task, group }: GroupName, score: number): TraceView | null {
  if (trace.view === null) return null;
  const pictures = recordPicturesOf(trace.pictures).map(({ imageHash }) => imageHash);
  return { ...viewOf(trace, trace.view), task, arm: group, score, pictures };
}

/** The main arm against the others of its task; of training the last step against the first. */
function withinRun(main: string | undefined): SummaryOptions["against"] {
  const ofArms = mainAgainstOthers(main);
  return (group, all) => {
    const steps = all.filter((one) => one.task === group.task && one.group.startsWith("step-"));
    const [first, last] = [steps[0], steps.at(-1)];
    const isLast = last !== undefined && last.group === group.group && first !== last;
    return isLast && first !== undefined ? [first] : ofArms(group, all);
  };
}

/** Each group of the first run against that of the second: of its name, or the one that was chosen. */
function acrossRuns(runs: readonly string[]): SummaryOptions["against"] {
  const [ours, theirs] = runs.map((text) => `${groupOfRun(text).path}:`);
  const chosen = groupOfRun(runs[1]).group;
  return ({ task, group }, all) => {
    if (!group.startsWith(ours)) return [];
    const others = all.filter((one) => one.task === task && one.group.startsWith(theirs));
    const same = others.filter((one) => one.group === theirs + group.slice(ours.length));
    const isAsked = (one: GroupName) => chosen !== null && one.group === theirs + chosen;
    const own = others.length === 1 ? others : others.filter(isAsked);
    const found = own.length > 0 ? own : same;
    return found.filter((one) => one.group !== group);
  };
}

async function judged(
  groups: readonly ObservedGroup[],
  judge: BehaviourJudge,
  concurrency: number,
  quiet: boolean,
  signal: AbortSignal,
): Promise<ObservedGroup[]> {
  const total = groups.reduce((sum, { observations }) => sum + observations.length, 0);
  const progress = new Progress({ label: "judge", total, unit: "traces", quiet });
  let done = 0;
  try {
    const out: ObservedGroup[] = [];
    for (const group of groups) {
      const observations = await mapBounded(
        group.observations,
        concurrency,
        signal,
        async (one, halt) => {
          const counts = await judge.count(one.thoughts ?? "", halt);
          progress.update(++done, {});
          return { ...one, judged: counts };
        },
      );
      out.push({ ...group, observations });
    }
    return out;
  } finally {
    progress.finish();
  }
}

async function writePage(
  { run, label }: TracedRun,
  command: string,
  report: BehaviourReport,
  watch: BehaviourWatch,
  pictures: Pictures,
): Promise<string> {
  const examples = watch.examples();
  const images = new Map<string, PageImage>();
  for (const hash of examples.flatMap(({ view }) => view.pictures)) {
    const known = pictures.get(hash);
    const file = known === undefined ? "" : pictureFile(known.folder, hash);
    if (known === undefined || images.has(hash) || !existsSync(file)) continue;
    const { widthPx, heightPx } = known;
    images.set(hash, { dataUri: await pageUri(await decodeImage(file)), widthPx, heightPx });
  }
  const body = html`${imageStore(images)}
    <main>
      <header class="top">
        <h1>${label}</h1>
        <p><code>${command}</code></p>
      </header>
      ${behaviourSection(report, examples, images)}
    </main>`;
  const page = run.file("behaviours.html");
  await writeFileAtomic(page, pageHtml(`${label}: behaviours`, reportCss, body));
  await writeFileAtomic(run.file("behaviours.json"), `${JSON.stringify(report, null, 2)}\n`);
  return page;
}
