/**
 * Puts a report on disk: report.json, report.md and report.html in the run folder. Traces and pictures
 * are read from the arms' folders, pictures from the records; places are brought to pixels of the
 * original, in which the page draws.
 */
import { existsSync } from "node:fs";
import { readFile } from "node:fs/promises";
import { join } from "node:path";
import { VigorlError } from "../core/errors.ts";
import { hashText, writeFileAtomic } from "../core/files.ts";
import { inside } from "../core/inside.ts";
import { readJsonlAll } from "../core/jsonl.ts";
import { z } from "zod";
import { encodeJpeg, type RgbImage } from "../image/decode.ts";
import { pictureFile } from "../image/picture-file.ts";
import { shrinkTo } from "../image/resize.ts";
import { defaultBehaviourRules, type BehaviourRules } from "../task/behaviours.ts";
import { kindOf, shownTruth, truthProblem, type Truth } from "../task/kinds.ts";
import { loadImages, type TaskRecord } from "../task/record.ts";
import type { Records } from "../task/records.ts";
import type { ToolUseLine } from "../task/lines.ts";
import { toOriginal, type PictureLine } from "../task/pictures.ts";
import { drawnOn, drawUse } from "../task/tools/draw-use.ts";
import { readTraces, type Trace } from "../task/trace.ts";
import type { AnswerView } from "../task/trajectory.ts";
import { armFolder, readArm } from "./arm-files.ts";
import { BehaviourWatch, mainAgainstOthers, summarise } from "./behaviours/watch.ts";
import type { Condition } from "./controls.ts";
import type { Html } from "./html.ts";
import { isRight, isUnanswered } from "./outcome.ts";
import { reportHtml } from "./report-html.ts";
import type { PageImage, TraceTurn, TraceUse, TraceView } from "./report-trace.ts";
import { reportJson, reportMarkdown, type Curve, type Report } from "./report.ts";

/** The questions of one task, for the pictures of the page. */
export interface ReportTask {
  readonly task: string;
  readonly records: Records;
}

export interface ReportExtras {
  /** By which behaviours are told. */
  readonly rules?: BehaviourRules;
  /** Drawings of search trees, for the page. */
  readonly trees?: readonly Html[];
}

/**
 * Writes the three forms of a report; returns the path of the page. Behaviours are counted in the traces
 * that the arms have kept.
 */
export async function writeReport(
  run: string,
  report: Report,
  tasks: readonly ReportTask[],
  { rules = defaultBehaviourRules, trees = [] }: ReportExtras = {},
): Promise<string> {
  const watch = new BehaviourWatch(rules, report.main);
  const images = new Map<string, PageImage>();
  const views: TraceView[] = [];
  const unread: Record<string, string> = {};
  for (const { task, records } of tasks) {
    const order = new Map<string, number>();
    for (const { id } of records) order.set(id, order.size);
    for (const { name: arm } of report.arms.filter((one) => one.task === task)) {
      try {
        views.push(...(await armViews(run, task, arm, records, order, images, watch)));
      } catch (error) {
        // Traces are there to be looked at: the figures do not hang on them.
        if (!(error instanceof VigorlError)) throw error;
        unread[`traces of ${task} ${arm}, not shown`] = error.message;
      }
    }
  }
  const told = {
    ...report,
    facts: { ...report.facts, ...unread },
    ...behavioursOfArms(watch, report.main),
  };
  const page = inside(run, "report.html");
  await writeFileAtomic(inside(run, "report.md"), reportMarkdown(told));
  await writeFileAtomic(page, reportHtml(told, views, images, watch.examples(), trees));
  await writeFileAtomic(inside(run, "report.json"), reportJson(told));
  return page;
}

function behavioursOfArms(watch: BehaviourWatch, main: string | undefined) {
  const groups = watch.groups();
  if (groups.length === 0) return {};
  const against = mainAgainstOthers(main);
  const options = { over: "all", limit: null, judge: null, against } as const;
  return { behaviours: summarise(groups, groups, { ...options, rules: watch.rules }) };
}

/** Learning curves out of a metrics.jsonl, for the metrics that it has. */
export async function readCurves(
  folder: string,
  stage: string,
  metrics: Readonly<Record<string, string>>,
): Promise<Curve[]> {
  const file = join(folder, "metrics.jsonl");
  if (!existsSync(file)) return [];
  const rows = await readJsonlAll(file, z.looseObject({ step: z.number() }), {
    allowTornLastLine: true,
  });
  return Object.entries(metrics).flatMap(([name, label]) => {
    const points = rows.filter((row) => typeof row[name] === "number");
    if (points.length === 0) return [];
    const steps = points.map((row) => row.step);
    return [{ stage, metric: label, steps, values: points.map((row) => Number(row[name])) }];
  });
}

/** Longest side of a picture in the page. */
const pictureSidePx = 896;

async function armViews(
  run: string,
  task: string,
  arm: string,
  records: Records,
  order: ReadonlyMap<string, number>,
  images: Map<string, PageImage>,
  watch: BehaviourWatch,
): Promise<TraceView[]> {
  const views: TraceView[] = [];
  const folder = armFolder(run, task, arm);
  if (!existsSync(join(folder, "traces.jsonl"))) return views;
  const { outcomes } = await readArm(run, task, arm);
  const first = outcomes.filter(({ sample = 0 }) => sample === 0);
  watch.tellAsked({ task, group: arm }, first.filter((one) => !isUnanswered(one)).length);
  const scores = new Map(first.map(({ recordId, score }) => [recordId, score]));
  for (const trace of await readTraces(join(folder, "traces.jsonl"))) {
    const record = records.at(order.get(trace.recordId) ?? records.length);
    const score = scores.get(trace.recordId);
    if (record === undefined || score === undefined || trace.view === null) continue;
    const pictures = recordPicturesOf(trace.pictures).map(({ id }) => pictureKey(trace, arm, id));
    const view = { ...viewOf(trace, trace.view), task, arm, score, pictures };
    views.push(view);
    if (!isUnanswered(trace))
      watch.add({ task, group: arm, trace, isRight: isRight({ score }), view });
    await keepImages(trace, record, arm, folder, images);
  }
  const place = (view: TraceView) => order.get(view.recordId) ?? 0;
  return views.sort((a, b) => place(a) - place(b));
}

/** A trace as a page shows it, its places in pixels of the original. */
export function viewOf(
  trace: Trace,
  view: AnswerView,
): Omit<TraceView, "task" | "arm" | "score" | "pictures"> {
  const { recordId, question, answer, stopReason, error, reward } = trace;
  const at = answer === null ? null : (kindOf(trace.kind).place?.(answer, view) ?? null);
  return {
    recordId,
    question,
    ...truthOf(trace),
    answer,
    reward: reward === null ? {} : { reward: reward.total, ...reward.terms },
    stopReason,
    error,
    points: trace.points
      .filter((place) => place.inImage)
      .map(({ picture, x, y, turn }) => {
        const at = toOriginal({ x, y }, trace.pictures[picture]);
        return { picture, x: at.x, y: at.y, turn };
      }),
    ...(at === null ? {} : { answerAt: { x: at.x, y: at.y } }),
    uses: trace.toolUses.map((use) => viewOfUse(use, trace, view)),
    turns: readableTurns(trace),
  };
}

/** The truth that it was judged by, which a control may have changed. */
function truthOf({ kind, truth }: Trace): Pick<TraceView, "truth" | "truthBox"> {
  const asked = { kind, answer: truth as Truth };
  if (truthProblem(asked) !== null) return { truth: JSON.stringify(truth) };
  const { text, box } = shownTruth(asked);
  return { truth: text, ...(box === undefined ? {} : { truthBox: box }) };
}

/** The conversation for readers: control tokens left out, neighbours of one author joined. */
export function recordPicturesOf(pictures: readonly PictureLine[]): PictureLine[] {
  return pictures.filter(({ tool }) => tool === null);
}

function viewOfUse(use: ToolUseLine, trace: Trace, { coordinates }: AnswerView): TraceUse {
  const { pictures } = trace;
  const given = use.gives === null ? undefined : pictures[use.gives];
  return {
    name: use.tool ?? "call",
    imageHash: given?.imageHash ?? null,
    fault: use.fault,
    picture: drawnOn(use, { pictures, coordinates }),
    draw: (canvas) => drawUse(use, { pictures, coordinates }, canvas),
  };
}

function readableTurns({ parts, pictures }: Trace): TraceTurn[] {
  const turns: TraceTurn[] = [];
  const numShown = recordPicturesOf(pictures).length;
  for (const part of parts) {
    const text =
      part.type === "text"
        ? readable(part.text, part.author)
        : part.picture >= numShown
          ? `[${pictures[part.picture]?.tool ?? "picture"} ${part.picture - numShown + 1}]`
          : numShown === 1
            ? "[picture]"
            : `[picture ${part.picture}]`;
    const last = turns.at(-1);
    if (last?.author === part.author) {
      turns[turns.length - 1] = { author: part.author, text: last.text + text };
    } else if (text.trim() !== "") {
      turns.push({ author: part.author, text });
    }
  }
  return turns;
}

/** Prompts without their control tokens; of the model's own, only the end of its turn is left out. */
function readable(text: string, author: TraceTurn["author"]): string {
  if (author === "model") return text.replace(/<\|im_end\|>$/, "");
  return text.replace(/<\|im_start\|>(?:system|user|assistant)\n/g, "").replace(/<\|\w+\|>/g, "");
}

/** Pictures are shared by the arms; where the picture was taken away, what was shown instead. */
function pictureKey(trace: Trace, arm: string, id: number): string {
  const blind: Condition = "no-image";
  if (arm === blind) return `${trace.pictures[id].imageHash}-as-original`;
  return hashText(id === 0 ? trace.recordId : `${trace.recordId}#${id}`).slice(0, 32);
}

async function keepImages(
  trace: Trace,
  record: TaskRecord,
  arm: string,
  folder: string,
  images: Map<string, PageImage>,
): Promise<void> {
  const shown = recordPicturesOf(trace.pictures);
  for (const { id, imageHash, box } of shown) {
    const key = pictureKey(trace, arm, id);
    if (images.has(key)) continue;
    const [image] = await loadImages({ ...record, images: [record.images[id]] });
    const dataUri = key.endsWith("-as-original")
      ? await pngUri(folder, imageHash)
      : await pageUri(image);
    images.set(key, { dataUri, widthPx: box[2], heightPx: box[3] });
  }
  for (const { imageHash, widthPx, heightPx } of trace.pictures.slice(shown.length))
    if (!images.has(imageHash))
      images.set(imageHash, { dataUri: await pngUri(folder, imageHash), widthPx, heightPx });
}

async function pngUri(folder: string, hash: string): Promise<string> {
  const bytes = await readFile(pictureFile(folder, hash));
  return `data:image/png;base64,${bytes.toString("base64")}`;
}

/** A picture for a page, made smaller where it is large. */
export async function pageUri(image: RgbImage): Promise<string> {
  const bytes = await encodeJpeg(shrinkTo(image, pictureSidePx), 85);
  return `data:image/jpeg;base64,${Buffer.from(bytes).toString("base64")}`;
}
