/** How training went, for a report: curves of its figures, and the alarms that they raise. */
import { existsSync } from "node:fs";
import { join } from "node:path";
import { openRunFolder, type RunFolder } from "../core/run-folder.ts";
import { readCurves } from "../eval/report-files.ts";
import type { Curve, StageAlarm } from "../eval/report.ts";
import { recipeOfManifest, warmArms } from "../recipe.ts";
import { runAround } from "../recipe-of-model.ts";
import { readAlarms, type AlarmConfig } from "../train/collapse.ts";

export interface TrainingShown {
  readonly curves: readonly Curve[];
  readonly alarms: readonly StageAlarm[];
}

/** Of a model, where it is a checkpoint of a run. */
export async function trainingOfModel(folder: string): Promise<TrainingShown> {
  const path = await runAround(folder);
  if (path === null) return { curves: [], alarms: [] };
  const { manifest } = await openRunFolder(path);
  const { verb } = manifest;
  const shown = { loss: "loss", reward: "reward", accuracy: "accuracy" };
  const curves = await readCurves(path, verb, {
    ...shown,
    "validation/accuracy": "held-out accuracy",
  });
  if (verb !== "rl") return { curves, alarms: [] };
  const { rl } = recipeOfManifest(join(path, "manifest.json"), manifest, []);
  return { curves, alarms: await alarmsOfStage(path, verb, rl.alarms) };
}

/** Of a pipeline. @param rlArms the first is shown with more than its accuracy */
export async function trainingOfPipeline(
  run: RunFolder,
  rlArms: readonly string[],
  alarms: AlarmConfig,
): Promise<TrainingShown> {
  const shown = {
    reward: "reward",
    accuracy: "accuracy",
    toolUsesPerEpisode: "tool uses per episode",
    entropy: "entropy",
  };
  const curvesOf = (stage: string, metrics: Readonly<Record<string, string>>) =>
    readCurves(run.stage(stage), stage, metrics);
  const sft = warmArms.map((arm) => curvesOf(arm, { loss: "loss" }));
  const rl = rlArms.map((arm, i) => curvesOf(arm, i === 0 ? shown : { accuracy: "accuracy" }));
  const raised = rlArms.map((arm) => alarmsOfStage(run.stage(arm), arm, alarms));
  return {
    curves: (await Promise.all([...sft, ...rl])).flat(),
    alarms: (await Promise.all(raised)).flat(),
  };
}

async function alarmsOfStage(
  folder: string,
  stage: string,
  config: AlarmConfig,
): Promise<StageAlarm[]> {
  const file = join(folder, "metrics.jsonl");
  if (!existsSync(file)) return [];
  const alarms = await readAlarms(file, config);
  return alarms.map(({ step, message }) => ({ stage, step, message }));
}
