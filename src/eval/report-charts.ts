/**
 * The charts of the HTML report as inline SVG: accuracies with their intervals, and learning
 * curves. Colours come from the page's CSS variables, so both themes fit.
 */
import { conditionTable } from "./controls.ts";
import { html, type Html } from "./html.ts";
import { percent } from "./report-figures.ts";
import type { Arm, Curve } from "./report.ts";

/**
 * One row an arm: a bar to its accuracy and the 95 % interval as a whisker, on a scale of 0 to 100 %.
 * Of boxes that wrap, so that words stay as large as words on a narrow page.
 */
export function accuracyChart(arms: readonly Arm[], main?: string): Html {
  const at = (share: number) => `${(100 * Math.min(1, Math.max(0, share))).toFixed(2)}%`;
  return html`<div class="chart" role="img" aria-label="Accuracy by arm with 95 % intervals">
    ${arms.map((arm) => {
      const [low, high] = arm.ci95;
      const whisker = `left:${at(low)};width:${at(high - low)}`;
      return html`<div
        class="row ${armKind(arm.name, main)}"
        title="${arm.name}: ${percent(arm.accuracy)} of ${arm.n}"
      >
        <span class="label">${arm.name}</span>
        <span class="value">${percent(arm.accuracy)}</span>
        <span class="track"
          ><i class="bar" style="width:${at(arm.accuracy)}"></i
          ><i class="whisker" style="${whisker}"></i
        ></span>
      </div>`;
    })}
    <div class="row scale" aria-hidden="true">
      <span class="track">${[0, 25, 50, 75, 100].map((tick) => html`<span>${tick}</span>`)}</span>
    </div>
  </div>`;
}

/** What an arm is for, as a CSS class: the report's `main` arm, something it is compared with, a control. */
export function armKind(name: string, main?: string): "main" | "other" | "control" {
  if (Object.hasOwn(conditionTable, name) || name.includes(":")) return "control";
  return name === main ? "main" : "other";
}

/** One panel a metric: its curves of all stages over each other, raw values thin, running means thick. */
export function curveChart(curves: readonly Curve[]): Html {
  const [{ metric }] = curves;
  const width = 320;
  const height = 150;
  const margin = { left: 44, right: 10, top: 10, bottom: 22 };
  const lines = curves.map(({ stage, steps, values }) => ({
    stage,
    points: steps
      .map((step, i) => ({ step, value: values[i] }))
      .filter(({ value }) => Number.isFinite(value)),
  }));
  const all = lines.flatMap(({ points }) => points);
  const legend = html`<span class="legend"
    >${lines.map(({ stage, points }, i) => html`<span class="series s${i % NUM_COLOURS}">${stage}${points.length === 0 && ": no values"}</span>`)}</span
  >`;
  if (all.length === 0)
    return html`<figure class="curve">
      <figcaption><b>${metric}</b> ${legend}</figcaption>
    </figure>`;
  const steps = all.map(({ step }) => step);
  const values = all.map(({ value }) => value);
  const [low, high] = padded(Math.min(...values), Math.max(...values));
  const first = Math.min(...steps);
  const last = Math.max(...steps, first + 1);
  const x = (step: number) =>
    margin.left + ((step - first) / (last - first)) * (width - margin.left - margin.right);
  const y = (value: number) =>
    height - margin.bottom - ((value - low) / (high - low)) * (height - margin.top - margin.bottom);
  const path = (points: readonly { readonly step: number }[], line: readonly number[]) =>
    line
      .map(
        (value, i) =>
          `${i === 0 ? "M" : "L"}${x(points[i].step).toFixed(1)} ${y(value).toFixed(1)}`,
      )
      .join("");
  return html`<figure class="curve">
    <figcaption><b>${metric}</b> ${legend}</figcaption>
    <svg
      viewBox="0 0 ${width} ${height}"
      role="img"
      aria-label="${metric} over the steps of ${lines.map(({ stage }) => stage).join(", ")}"
    >
      ${niceTicks(low, high).map(
        (tick) =>
          html`<line
              class="grid"
              x1="${margin.left}"
              x2="${width - margin.right}"
              y1="${y(tick).toFixed(1)}"
              y2="${y(tick).toFixed(1)}"
            />
            <text
              class="tick"
              x="${margin.left - 6}"
              y="${(y(tick) + 3.5).toFixed(1)}"
              text-anchor="end"
              >${formatTick(tick)}</text
            >`,
      )}
      <text class="tick" x="${margin.left}" y="${height - 6}">${first}</text>
      <text class="tick" x="${width - margin.right}" y="${height - 6}" text-anchor="end">
        ${last}
      </text>
      ${lines.map(({ points }, i) => {
        const own = points.map(({ value }) => value);
        const smooth = runningMean(own, Math.max(1, Math.round(own.length / 20)));
        return html`<g class="s${i % NUM_COLOURS}"
          ><path class="raw" d="${path(points, own)}" />
          <path class="smooth" d="${path(points, smooth)}"
        /></g>`;
      })}
    </svg>
  </figure>`;
}

/** Colours of curves in `report-style.ts`. */
const NUM_COLOURS = 6;

/** Mean over the last `window` values at each place. */
export function runningMean(values: readonly number[], window: number): number[] {
  let sum = 0;
  return values.map((value, i) => {
    sum += value - (i >= window ? values[i - window] : 0);
    return sum / Math.min(i + 1, window);
  });
}

/** Three to six round numbers between `low` and `high`. */
export function niceTicks(low: number, high: number): number[] {
  const rough = (high - low) / 4;
  const power = 10 ** Math.floor(Math.log10(rough));
  const step = [1, 2, 5, 10].map((m) => m * power).find((s) => s >= rough) ?? 10 * power;
  const ticks: number[] = [];
  for (let k = Math.ceil(low / step); k * step <= high + step * 1e-9; k++) ticks.push(k * step);
  return ticks;
}

function padded(low: number, high: number): [number, number] {
  if (low === high) return [low - Math.abs(low || 1) * 0.5, high + Math.abs(high || 1) * 0.5];
  const room = (high - low) * 0.06;
  return [low >= 0 && low < room * 4 ? 0 : low - room, high + room];
}

function formatTick(value: number): string {
  if (value === 0) return "0";
  const size = Math.abs(value);
  return size >= 10_000 || size < 0.001
    ? value.toExponential(0)
    : String(Number(value.toPrecision(3)));
}
