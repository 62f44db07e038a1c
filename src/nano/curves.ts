/** Learning curves of base training as an SVG: held-out accuracies of each step over its steps. */
import { z } from "zod";
import { curvesSvg, type CurvePanel } from "../core/curves.ts";
import { readJsonlAll } from "../core/jsonl.ts";

const rowSchema = z.looseObject({ stage: z.string(), stageStep: z.number() });
type Row = z.output<typeof rowSchema>;

/** Draws the curves of a metrics.jsonl; one panel a stage, one line a figure between 0 and 1. */
export async function learningCurves(metricsFile: string): Promise<string> {
  const rows = await readJsonlAll(metricsFile, rowSchema);
  const stages = [...new Set(rows.map(({ stage }) => stage))];
  return curvesSvg(
    stages.map((stage) =>
      panelOf(
        stage,
        rows.filter((row) => row.stage === stage),
      ),
    ),
  );
}

const notFigures = new Set(["step", "stage", "stageStep", "loss"]);

function panelOf(title: string, rows: readonly Row[]): CurvePanel {
  const names = [...new Set(rows.flatMap((row) => Object.keys(row)))].filter(
    (name) => !notFigures.has(name),
  );
  const lines = names.map((name) => ({
    name,
    points: rows.flatMap((row) =>
      typeof row[name] === "number" ? [[row.stageStep, row[name]] as const] : [],
    ),
  }));
  const last = Math.max(1, ...rows.map((row) => row.stageStep));
  return { title, lines, last, range: [0, 1] };
}
