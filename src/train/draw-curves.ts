/** The curves of a training run: curves.svg, from what its metrics.jsonl says. */
import { existsSync } from "node:fs";
import { z } from "zod";
import { curvesSvg, type CurveLine, type CurvePanel } from "../core/curves.ts";
import { writeFileAtomic } from "../core/files.ts";
import { readJsonlAll } from "../core/jsonl.ts";
import type { RunFolder } from "../core/run-folder.ts";
import { readAlarms, type AlarmConfig } from "./collapse.ts";
import type { MetricName } from "./metrics.ts";

/** Figures that share an axis, by the name of their panel; those that a run has not are left out. */
const panels: Readonly<Record<string, readonly MetricName[]>> = {
  accuracy: ["accuracy", "validation/accuracy"],
  reward: ["reward", "validation/reward"],
  loss: ["loss", "kl"],
  entropy: ["entropy"],
  episodes: ["toolUsesPerEpisode", "episodeTurns", "invalidCalls"],
  "left out": ["zeroVarianceShare", "overlongShare", "errorShare"],
  gradient: ["gradNorm"],
};
const shares = new Set(["accuracy", "left out"]);

const rowSchema = z.looseObject({ step: z.number() });

/** Draws what a run has logged so far, and the alarms that it raises; nothing where it has logged nothing. */
export async function drawCurves(run: RunFolder, alarms?: AlarmConfig): Promise<void> {
  const file = run.file("metrics.jsonl");
  if (!existsSync(file)) return;
  const rows = await readJsonlAll(file, rowSchema, { allowTornLastLine: true });
  if (rows.length === 0) return;
  const last = Math.max(1, ...rows.map(({ step }) => step));
  const drawn = Object.entries(panels).flatMap(([title, names]): CurvePanel[] => {
    const lines = names.flatMap((name): CurveLine[] => {
      const points = rows.flatMap((row) => {
        const value = row[name];
        return typeof value === "number" ? [[row.step, value] as const] : [];
      });
      return points.length === 0 ? [] : [{ name, points }];
    });
    if (lines.length === 0) return [];
    return [{ title, lines, last, ...(shares.has(title) ? { range: [0, 1] as const } : {}) }];
  });
  const raised = alarms === undefined ? [] : await readAlarms(file, alarms);
  const notes = raised.map(({ step, message }) => `step ${step}: ${message}`);
  await writeFileAtomic(run.file("curves.svg"), curvesSvg(drawn, notes));
}
