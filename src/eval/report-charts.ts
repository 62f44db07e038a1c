/**
 * The charts of the HTML report as inline SVG: accuracies with their intervals, and learning
 * curves. Colours come from the page's CSS variables, so both themes fit.
 */
import { conditionTable } from "./controls.ts";
import { html, type Html } from "./html.ts";
import { percent, type Arm, type Curve } from "./report.ts";

/** One row an arm: a bar to its accuracy and the 95 % interval as a whisker, on a scale of 0 to 100 %. */
export function accuracyChart(arms: readonly Arm[], main?: string): Html {
  const labelWidth = 20 + 7.2 * Math.max(8, ...arms.map((arm) => arm.name.length));
  const plotWidth = 560;
  const rowHeight = 30;
  const height = arms.length * rowHeight + 26;
  const x = (share: number) => labelWidth + share * plotWidth;
  const ticks = [0, 0.25, 0.5, 0.75, 1];
  return html`<svg
    class="chart"
    viewBox="0 0 ${labelWidth + plotWidth + 64} ${height}"
    role="img"
    aria-label="Accuracy by arm with 95 % intervals"
  >
    ${ticks.map(
      (tick) =>
        html`<line class="grid" x1="${x(tick)}" x2="${x(tick)}" y1="4" y2="${height - 20}" />
          <text class="tick" x="${x(tick)}" y="${height - 5}" text-anchor="middle"
            >${100 * tick}</text
          >`,
    )}
    ${arms.map((arm, row) => {
      const y = row * rowHeight + rowHeight / 2 + 4;
      const [low, high] = arm.ci95;
      return html`<g class="arm ${armKind(arm.name, main)}"
        ><title>${arm.name}: ${percent(arm.accuracy)} of ${arm.n}</title>
        <text class="label" x="${labelWidth - 12}" y="${y + 4}" text-anchor="end">${arm.name}</text>
        <rect
          class="bar"
          x="${x(0)}"
          y="${y - 7}"
          width="${Math.max(1, arm.accuracy * plotWidth)}"
          height="14"
          rx="3"
        />
        <line class="whisker" x1="${x(low)}" x2="${x(high)}" y1="${y}" y2="${y}" />
        <line class="whisker" x1="${x(low)}" x2="${x(low)}" y1="${y - 4}" y2="${y + 4}" />
        <line class="whisker" x1="${x(high)}" x2="${x(high)}" y1="${y - 4}" y2="${y + 4}" />
        <text class="value" x="${labelWidth + plotWidth + 60}" y="${y + 4}" text-anchor="end"
          >${percent(arm.accuracy)}</text
        ></g
      >`;
    })}
  </svg>`;
}

/** What an arm is for, as a CSS class: the report's `main` arm, something it is compared with, a control. */
export function armKind(name: string, main?: string): "main" | "other" | "control" {
  if (Object.hasOwn(conditionTable, name) || name.includes(":")) return "control";
  return name === main ? "main" : "other";
}

/** One panel a metric: the raw values thin, their running mean thick. */
export function curveChart(curve: Curve): Html {
  const width = 320;
  const height = 150;
  const margin = { left: 44, right: 10, top: 10, bottom: 22 };
  const points = curve.steps
    .map((step, i) => ({ step, value: curve.values[i] }))
    .filter(({ value }) => Number.isFinite(value));
  if (points.length === 0)
    return html`<figure class="curve">
      <figcaption>${curve.stage} · ${curve.metric}: no values</figcaption>
    </figure>`;
  const steps = points.map(({ step }) => step);
  const values = points.map(({ value }) => value);
  const [low, high] = padded(Math.min(...values), Math.max(...values));
  const first = steps[0];
  const last = Math.max(steps[steps.length - 1], first + 1);
  const x = (step: number) =>
    margin.left + ((step - first) / (last - first)) * (width - margin.left - margin.right);
  const y = (value: number) =>
    height - margin.bottom - ((value - low) / (high - low)) * (height - margin.top - margin.bottom);
  const path = (line: readonly number[]) =>
    line
      .map((value, i) => `${i === 0 ? "M" : "L"}${x(steps[i]).toFixed(1)} ${y(value).toFixed(1)}`)
      .join("");
  const smooth = runningMean(values, Math.max(1, Math.round(values.length / 20)));
  return html`<figure class="curve">
    <figcaption><b>${curve.metric}</b> <span>${curve.stage}</span></figcaption>
    <svg
      viewBox="0 0 ${width} ${height}"
      role="img"
      aria-label="${curve.metric} over the steps of ${curve.stage}"
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
      <path class="raw" d="${path(values)}" />
      <path class="smooth" d="${path(smooth)}" />
    </svg>
  </figure>`;
}

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
