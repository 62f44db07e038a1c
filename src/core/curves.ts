/** Learning curves as an SVG that needs nothing else: panels side by side, lines over steps in each. */
import { escapeXml } from "./plain-text.ts";

export interface CurveLine {
  readonly name: string;
  readonly points: readonly (readonly [step: number, value: number])[];
}

export interface CurvePanel {
  readonly title: string;
  readonly lines: readonly CurveLine[];
  /** The last step of the axis. */
  readonly last: number;
  /** Of the vertical axis; default what the values need. */
  readonly range?: readonly [low: number, high: number];
}

/** Draws the panels, and what is to be said about them below. */
export function curvesSvg(panels: readonly CurvePanel[], notes: readonly string[] = []): string {
  const width = panels.length * panelWidth;
  const height = 300 + notes.length * 16;
  const said = notes.map(
    (note, i) => `<text x="${plot.left}" y="${306 + 16 * i}" fill="#b00">${escapeXml(note)}</text>`,
  );
  return `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 ${width} ${height}" font-family="sans-serif" font-size="11">
<rect width="${width}" height="${height}" fill="white"/>
${[...panels.map((panel, i) => drawn(panel, i * panelWidth)), ...said].join("\n")}
</svg>
`;
}

const panelWidth = 400;
const plot = { left: 36, top: 28, width: 250, height: 230 };
const palette = ["#d62728", "#1f77b4", "#2ca02c", "#9467bd", "#ff7f0e", "#8c564b"];

function drawn({ title, lines, last, range }: CurvePanel, offset: number): string {
  const [low, high] = range ?? rangeOf(lines.flatMap(({ points }) => points.map(([, y]) => y)));
  const x = (step: number) => offset + plot.left + (step / last) * plot.width;
  const y = (value: number) => plot.top + (1 - (value - low) / (high - low)) * plot.height;
  const grid = [0, 0.25, 0.5, 0.75, 1].map((share) => {
    const value = low + share * (high - low);
    return (
      `<line x1="${x(0)}" x2="${x(last)}" y1="${y(value)}" y2="${y(value)}" stroke="#ddd"/>` +
      `<text x="${x(0) - 5}" y="${y(value) + 4}" text-anchor="end">${Number(value.toPrecision(3))}</text>`
    );
  });
  const curves = lines.map(({ name, points }, i) => {
    const end = points.at(-1)?.[1] ?? 0;
    const path = points.map(([step, value]) => `${x(step).toFixed(1)},${y(value).toFixed(1)}`);
    const labelY = plot.top + 14 * i + 10;
    return (
      `<polyline fill="none" stroke="${palette[i % palette.length]}" stroke-width="1.6" points="${path.join(" ")}"/>` +
      `<text x="${x(last) + 6}" y="${labelY}" fill="${palette[i % palette.length]}">${name} ${label(end)}</text>`
    );
  });
  const head = `<text x="${x(0)}" y="16" font-weight="bold">${title}</text>`;
  const axis = `<text x="${x(last)}" y="${y(low) + 16}" text-anchor="end">${last} steps</text>`;
  return [head, ...grid, ...curves, axis].join("\n");
}

/** Three digits behind the point, or as many as tell small values apart. */
function label(value: number): string {
  return value !== 0 && Math.abs(value) < 0.01 ? value.toExponential(1) : value.toFixed(3);
}

/** From 0 where the values are near it, so that lines can be compared by their height. */
function rangeOf(values: readonly number[]): [low: number, high: number] {
  const low = values.reduce((least, value) => Math.min(least, value), Infinity);
  const high = values.reduce((most, value) => Math.max(most, value), -Infinity);
  if (!(high > low)) return Number.isFinite(low) ? [low - 0.5, low + 0.5] : [0, 1];
  return [low >= 0 && low < high / 2 ? 0 : low, high];
}
