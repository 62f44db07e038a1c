/**
 * A human study of how well a model points: single sentences of its traces with their place shown, written
 * out for people to rate, and what their ratings come to.
 */
import { existsSync } from "node:fs";
import { forEachBounded } from "./core/bounded.ts";
import { VigorlError } from "./core/errors.ts";
import { writeFileAtomic } from "./core/files.ts";
import { readJsonlAll } from "./core/jsonl.ts";
import { Progress } from "./core/progress.ts";
import { roundRobin } from "./core/round-robin.ts";
import { whileOpen } from "./engine-plan.ts";
import { engineLabel, type EngineConfig } from "./engine/open.ts";
import { judgementsOf } from "./eval/ask-model.ts";
import { isRight } from "./eval/outcome.ts";
import type { TraceChoice } from "./eval/behaviours/figures.ts";
import { standingJudge, standingMaxTokens, type Standing } from "./eval/study/alone.ts";
import {
  groundedSentences,
  orderSentences,
  placeWords,
  sentenceFaults,
  withPlace,
  type GroundedSentence,
  type SentenceFault,
} from "./eval/study/choose.ts";
import { keyFileOf, refuseExisting, writeStudy, type StudySentence } from "./eval/study/export.ts";
import { keySchema, type KeyLine, type StudyCondition } from "./eval/study/files.ts";
import { readRatings } from "./eval/study/ratings.ts";
import { scoreStudy, type StudyScore } from "./eval/study/score.ts";
import { studyMarkdown } from "./eval/study/words.ts";
import { decodeImage, type RgbImage } from "./image/decode.ts";
import { pictureFile } from "./image/picture-file.ts";
import { questionsOf } from "./replay.ts";
import { openTraced, planAsked, tracesOfRun, type RunTrace, type TracedRun } from "./run-traces.ts";
import type { TaskSet } from "./recipe.ts";
import { toOriginal, type PictureLine } from "./task/pictures.ts";
import { loadImages } from "./task/record.ts";

export interface StudyOptions {
  /** Runs, or groups of runs as `runs/a:group`; sentences come evenly from all. */
  readonly runs: readonly string[];
  readonly out: string;
  readonly sentences: number;
  readonly perQuestion: number;
  readonly conditions: readonly StudyCondition[];
  readonly over: TraceChoice;
  /** The record's pictures, or those that the model saw. */
  readonly pictures: "original" | "seen";
  readonly circlePx: number;
  readonly sidePx: number;
  readonly seed: number;
  /** Asked whether a sentence can be understood alone. */
  readonly judge: EngineConfig | null;
  readonly concurrency: number;
  readonly quiet: boolean;
  readonly signal: AbortSignal;
}

/** What became of the sentences of all traces. */
export interface StudyExport {
  readonly out: string;
  readonly key: string;
  readonly items: number;
  readonly sentences: number;
  readonly traces: number;
  readonly dropped: Readonly<Record<SentenceFault | "needsContext" | "unread", number>>;
  /** Sentences that could have been taken, too. */
  readonly left: number;
}

/**
 * Writes a study of the traces of runs.
 * @throws VigorlError("usage") where a run holds no traces or the folder is there; "input" where no sentence
 *   names a place, or a picture is missing
 */
export async function exportStudy(options: StudyOptions): Promise<StudyExport> {
  const { runs, out, seed, perQuestion, quiet, signal } = options;
  refuseExisting(out);
  const dropped = { needsContext: 0, unread: 0, ...noFaults() };
  const queues: Candidate[][] = [];
  let traces = 0;
  const sources = await Promise.all(runs.map(openTraced));
  for (const source of sources) {
    const { candidates, numTraces } = await candidatesOf(source, options, dropped);
    traces += numTraces;
    const byRun = new Map(candidates.map((one) => [one.sentence, one]));
    const order = orderSentences([...byRun.keys()], perQuestion, seed);
    queues.push(order.map((sentence) => byRun.get(sentence)!));
  }
  const ordered = roundRobin(queues);
  if (ordered.length === 0)
    throw new VigorlError(
      "input",
      `${runs.join(", ")}: no sentence of ${traces} traces names one place in the picture (${droppedText(dropped)})`,
      { hint: "keep more traces (eval.traces: all), or name a model that points" },
    );
  const chosen =
    options.judge === null
      ? ordered.slice(0, options.sentences)
      : await standingAlone(ordered, sources[0], options.judge, options, dropped);
  if (chosen.length === 0)
    throw new VigorlError(
      "input",
      `no sentence can be understood alone (${droppedText(dropped)})`,
      {
        hint: "ask another --judge, or none",
      },
    );
  const label = "study";
  const total = chosen.length * options.conditions.length;
  const progress = new Progress({ label, total, unit: "items", quiet });
  try {
    const onItem = (done: number) => progress.update(done);
    const key = await writeStudy(chosen, { ...options, onItem, signal });
    return {
      out,
      key: keyFileOf(out),
      items: key.length,
      sentences: chosen.length,
      traces,
      dropped,
      left: ordered.length - chosen.length - dropped.needsContext - dropped.unread,
    };
  } finally {
    progress.finish();
  }
}

export interface Scored {
  readonly score: StudyScore;
  readonly page: string;
}

/**
 * Scores ratings; leaves `<ratings>.score.json` and `.score.md` beside them.
 * @throws VigorlError("input") naming every line that is wrong
 */
export async function scoreRatings(ratings: string, key: string, seed: number): Promise<Scored> {
  const lines = await readJsonlAll(key, keySchema);
  refuseKey(key, lines);
  const score = scoreStudy(await readRatings(ratings, lines), seed);
  const stem = ratings.replace(/\.[^./\\]+$/, "");
  const page = `${stem}.score.md`;
  await writeFileAtomic(`${stem}.score.json`, `${JSON.stringify(score, null, 2)}\n`);
  await writeFileAtomic(page, studyMarkdown(`Ratings of ${ratings}`, score));
  return { score, page };
}

function refuseKey(file: string, lines: readonly KeyLine[]): void {
  const ids = lines.map(({ id }) => id);
  const twice = ids.find((id, i) => ids.indexOf(id) !== i);
  if (lines.length > 0 && twice === undefined) return;
  const what = twice === undefined ? "holds no items" : `has the item ${twice} twice`;
  throw new VigorlError("input", `${file}: ${what}`, {
    hint: "name the .key.jsonl that was written beside the study's folder",
  });
}

function noFaults(): Record<SentenceFault, number> {
  return Object.fromEntries(sentenceFaults.map((fault) => [fault, 0])) as Record<
    SentenceFault,
    number
  >;
}

export function droppedText(dropped: StudyExport["dropped"]): string {
  const words: Readonly<Record<keyof StudyExport["dropped"], string>> = {
    noPoint: "without a point",
    severalPoints: "with several",
    outside: "pointing outside",
    tooShort: "too short",
    needsContext: "not to be understood alone",
    unread: "not judged",
  };
  const names = Object.keys(words) as (keyof typeof words)[];
  const parts = names
    .filter((name) => dropped[name] > 0)
    .map((name) => `${dropped[name]} ${words[name]}`);
  return parts.length === 0 ? "none was left out" : parts.join(", ");
}

/** A sentence that may be taken. */
interface Candidate extends StudySentence {
  readonly sentence: GroundedSentence;
}

async function candidatesOf(
  source: TracedRun,
  { over, pictures, signal }: StudyOptions,
  dropped: Record<SentenceFault, number>,
): Promise<{ candidates: Candidate[]; numTraces: number }> {
  const { path, label, main, group } = source;
  const only = group ?? main ?? null;
  const isWanted = (name: string) => only === null || name === only;
  const images = new PictureSource(source);
  const candidates: Candidate[] = [];
  let numTraces = 0;
  for await (const one of tracesOfRun(source, { signal, isWanted })) {
    const { trace, score } = one;
    const own = trace.reward === null ? null : isRight({ score: trace.reward.accuracy });
    const right = score === null ? own : isRight({ score });
    if (over === "right" && right !== true) continue;
    numTraces++;
    const found = groundedSentences(trace, one, right);
    for (const fault of sentenceFaults) dropped[fault] += found.dropped[fault];
    const [first] = trace.pictures;
    for (const sentence of found.sentences)
      candidates.push({
        sentence,
        run: path,
        picture: () => images.open(one, first, sentence, pictures),
      });
  }
  if (numTraces > 0) return { candidates, numTraces };
  const what = only === null ? "holds no traces" : `holds no traces of ${only}`;
  throw new VigorlError(
    "usage",
    `${label}: ${what}${over === "right" ? " with a right answer" : ""}`,
    {
      hint: `name a run of eval, rl or demo, or one of its groups as ${path}:group`,
    },
  );
}

/** Pictures of a run's traces. */
class PictureSource {
  private readonly source: TracedRun;
  private readonly sets = new Map<string, Promise<TaskSet[]>>();

  constructor(source: TracedRun) {
    this.source = source;
  }

  async open(
    {
      folder,
      split,
      task,
      trace,
    }: Pick<RunTrace, "folder" | "split" | "task"> & {
      readonly trace: { readonly recordId: string };
    },
    picture: PictureLine,
    { point }: GroundedSentence,
    which: StudyOptions["pictures"],
  ) {
    if (which === "seen") {
      const file = pictureFile(folder, picture.imageHash);
      if (!existsSync(file))
        throw new VigorlError("input", `${file}: is missing`, {
          hint: "restore the run's folder, or take --pictures original",
        });
      return { image: await decodeImage(file), at: { x: point.x, y: point.y } };
    }
    const image = await this.original(split, task, trace.recordId);
    const [, , widthPx, heightPx] = picture.box;
    if (image.widthPx !== widthPx || image.heightPx !== heightPx)
      throw new VigorlError(
        "input",
        `${trace.recordId}: its picture is ${image.widthPx} × ${image.heightPx}, and was ${widthPx} × ${heightPx}`,
        { hint: "put the picture back, or take --pictures seen" },
      );
    const { x, y } = toOriginal(point, picture);
    return { image, at: { x, y } };
  }

  private async original(split: RunTrace["split"], task: string, id: string): Promise<RgbImage> {
    const { run, recipe, path } = this.source;
    const known = this.sets.get(split) ?? questionsOf(run, recipe, split);
    this.sets.set(split, known);
    const sets = await known;
    const named = sets.filter((set) => set.task === task);
    const record = (named.length > 0 ? named : sets)
      .flatMap(({ records }) => [...records])
      .find((one) => one.id === id);
    if (record === undefined)
      throw new VigorlError("input", `${path}: its recipe has no question ${id} any more`, {
        hint: "put the data back, or take --pictures seen",
      });
    const [image] = await loadImages({ ...record, images: record.images.slice(0, 1) });
    return image;
  }
}

/** The first sentences that a model takes for understandable alone, in their order. */
async function standingAlone(
  ordered: readonly Candidate[],
  { path, recipe }: TracedRun,
  judge: EngineConfig,
  { sentences, concurrency, quiet, signal }: StudyOptions,
  dropped: Record<"needsContext" | "unread", number>,
): Promise<Candidate[]> {
  const plan = await planAsked(recipe, judge, signal);
  const folder = judgementsOf(path);
  const named = { name: engineLabel(plan.engine), chat: plan.episode.chat, folder };
  const progress = new Progress({ label: "judge", total: sentences, unit: "sentences", quiet });
  const said = new Map<number, Standing>();
  /** Those whose turn has come; the word of later ones must not decide on earlier ones. */
  const settled = () => {
    const chosen: number[] = [];
    let at = 0;
    while (chosen.length < sentences && said.has(at))
      if (said.get(at++) === "alone") chosen.push(at - 1);
    return { chosen, at };
  };
  function* open() {
    for (const [i, one] of ordered.entries()) {
      if (settled().chosen.length >= sentences) return;
      yield { one, i };
    }
  }
  try {
    return await whileOpen(plan, async (sampler) => {
      const ask = standingJudge({ ...named, sampler, maxTokens: standingMaxTokens });
      await forEachBounded(open(), concurrency, signal, async ({ one, i }, halt) => {
        const { text, point } = one.sentence;
        said.set(i, await ask(withPlace(text, point, placeWords.marked), halt));
        progress.update(settled().chosen.length);
      });
      const { chosen, at } = settled();
      for (let i = 0; i < at; i++) {
        const word = said.get(i);
        if (word === "needsContext" || word === "unread") dropped[word]++;
      }
      return chosen.map((i) => ordered[i]);
    });
  } finally {
    progress.finish();
  }
}
