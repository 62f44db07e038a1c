/**
 * Puts a report on disk: report.json, report.md and report.html in the run folder. Traces and crops
 * are read from the arms' folders, pictures from the records; places are brought to pixels of the
 * original, in which the page draws.
 */
import { existsSync } from "node:fs";
import { readFile } from "node:fs/promises";
import { join } from "node:path";
import { writeFileAtomic } from "../core/files.ts";
import { readJsonlAll } from "../core/jsonl.ts";
import { z } from "zod";
import { encodeJpeg, type RgbImage } from "../image/decode.ts";
import { resizedToOriginal, point } from "../image/frames.ts";
import { resize } from "../image/resize.ts";
import { loadImages, type TaskRecord } from "../task/record.ts";
import { readTraces, type Trace } from "../task/trace.ts";
import { armFolder } from "./arm.ts";
import { reportHtml } from "./report-html.ts";
import type { PageImage, TraceView } from "./report-trace.ts";
import { reportJson, reportMarkdown, type Curve, type Report } from "./report.ts";

/** The questions of one task, for the pictures of the page. */
export interface ReportTask {
  readonly task: string;
  readonly records: readonly TaskRecord[];
}

/** Writes the three forms of a report; returns the path of the page. */
export async function writeReport(
  run: string,
  report: Report,
  tasks: readonly ReportTask[],
): Promise<string> {
  const images = new Map<string, PageImage>();
  const views: TraceView[] = [];
  for (const { task, records } of tasks) {
    const arms = report.arms.filter((arm) => arm.task === task).map((arm) => arm.name);
    views.push(...(await taskViews(run, task, arms, records, images)));
  }
  const page = join(run, "report.html");
  await writeFileAtomic(join(run, "report.md"), reportMarkdown(report));
  await writeFileAtomic(page, reportHtml(report, views, images));
  await writeFileAtomic(join(run, "report.json"), reportJson(report));
  return page;
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

async function taskViews(
  run: string,
  task: string,
  arms: readonly string[],
  records: readonly TaskRecord[],
  images: Map<string, PageImage>,
): Promise<TraceView[]> {
  const byId = new Map(records.map((record) => [record.id, record]));
  const views: TraceView[] = [];
  for (const arm of arms) {
    const folder = armFolder(run, task, arm);
    if (!existsSync(join(folder, "traces.jsonl"))) continue;
    for (const trace of await readTraces(join(folder, "traces.jsonl"))) {
      const record = byId.get(trace.recordId);
      if (!record) continue;
      views.push(await viewOf(trace, record, task, arm, folder, images));
    }
  }
  const order = new Map(records.map((record, i) => [record.id, i]));
  return views.sort((a, b) => (order.get(a.recordId) ?? 0) - (order.get(b.recordId) ?? 0));
}
