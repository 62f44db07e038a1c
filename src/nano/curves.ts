/** Learning curves of base training as an SVG: held-out accuracies of each step over its steps. */
import { z } from "zod";
import { readJsonlAll } from "../core/jsonl.ts";

const rowSchema = z.looseObject({ stage: z.string(), stageStep: z.number() });

/** Draws the curves of a metrics.jsonl; one panel a stage, one line a figure between 0 and 1. */
export async function learningCurves(metricsFile: string): Promise<string> {
  const rows = await readJsonlAll(metricsFile, rowSchema);
  const stages = [...new Set(rows.map(({ stage }) => stage))];
  const panels = stages.map((stage, i) =>
    panel(
      stage,
      rows.filter((row) => row.stage === stage),
      i * panelWidth,
    ),
  );
  const width = stages.length * panelWidth;
  return `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 ${width} 300" font-family="sans-serif" font-size="11">
<rect width="${width}" height="300" fill="white"/>
${panels.join("\n")}
</svg>
`;
}

const panelWidth = 400;
const plot = { left: 36, top: 28, width: 250, height: 230 };
const palette = ["#d62728", "#1f77b4", "#2ca02c", "#9467bd", "#ff7f0e", "#8c564b"];
const notFigures = new Set(["step", "stage", "stageStep", "loss"]);

function panel(stage: string, rows: readonly Record<string, unknown>[], offset: number): string {
  const names = [...new Set(rows.flatMap((row) => Object.keys(row)))].filter(
    (name) => !notFigures.has(name),
  );
  const last = Math.max(1, ...rows.map((row) => Number(row.stageStep)));
  const x = (step: number) => offset + plot.left + (step / last) * plot.width;
  const y = (value: number) => plot.top + (1 - value) * plot.height;
  const grid = [0, 0.25, 0.5, 0.75, 1].map(
    (value) =>
      `<line x1="${x(0)}" x2="${x(last)}" y1="${y(value)}" y2="${y(value)}" stroke="#ddd"/>` +
      `<text x="${x(0) - 5}" y="${y(value) + 4}" text-anchor="end">${value}</text>`,
  );
  const lines = names.map((name, i) => {
    const points = rows.flatMap((row) =>
      typeof row[name] === "number" ? [[Number(row.stageStep), row[name]] as const] : [],
    );
    const end = points.at(-1)?.[1] ?? 0;
    const path = points.map(([step, value]) => `${x(step).toFixed(1)},${y(value).toFixed(1)}`);
    const labelY = plot.top + 14 * i + 10;
    return (
      `<polyline fill="none" stroke="${palette[i % palette.length]}" stroke-width="1.6" points="${path.join(" ")}"/>` +
      `<text x="${x(last) + 6}" y="${labelY}" fill="${palette[i % palette.length]}">${name} ${end.toFixed(3)}</text>`
    );
  });
  const title = `<text x="${x(0)}" y="16" font-weight="bold">${stage}</text>`;
  const axis = `<text x="${x(last)}" y="${y(0) + 16}" text-anchor="end">${last} steps</text>`;
  return [title, ...grid, ...lines, axis].join("\n");
}
