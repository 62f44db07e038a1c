/**
 * The report as one HTML page that needs nothing else: no scripts, no requests, images inside.
 * Light and dark follow the reader's system. Order: the result, the comparisons, how it was
 * learned, what the model looked at, what it was made with.
 */
import { behaviourSection } from "./behaviours/section.ts";
import type { BehaviourExample } from "./behaviours/watch.ts";
import { html, Html } from "./html.ts";
import { accuracyChart, armKind, curveChart } from "./report-charts.ts";
import { reportCss } from "./report-style.ts";
import { armFilterCss, traceSection } from "./report-questions.ts";
import { imageStore, type PageImage, type TraceView } from "./report-trace.ts";
import { formatP, interval, percent, signed } from "./report-figures.ts";
import { notesOf, sectionsOf } from "./report-sections.ts";
import {
  alarmText,
  explained,
  findings,
  tasksOf,
  type Arm,
  type Curve,
  type Report,
} from "./report.ts";

/** Assembles the page. Traces of one record are shown together; images are given by hash. */
export function reportHtml(
  report: Report,
  traces: readonly TraceView[],
  images: ReadonlyMap<string, PageImage>,
  examples: readonly BehaviourExample[] = [],
  trees: readonly Html[] = [],
): string {
  const { alarms = [] } = report;
  const body = html`${imageStore(images)}
    <main>
      <header class="top">
        <h1>${report.title}</h1>
        <p><code>${report.command}</code></p>
        <p class="quiet">${report.createdAt}</p>
        ${(report.warnings ?? []).map((warning) => html`<p><strong>${warning}</strong></p>`)}
      </header>
      ${tasksOf(report.arms).map((task) => taskSection(report, task))}
      ${
        report.curves.length > 0 &&
        html`<section>
          <h2>Learning curves</h2>
          ${
            alarms.length > 0 &&
            html`<ul class="alarms">
              ${alarms.map((one) => html`<li>${alarmText(one)}</li>`)}
            </ul>`
          }
          <div class="curves">${byMetric(report.curves).map(curveChart)}</div>
        </section>`
      }
      ${report.behaviours && behaviourSection(report.behaviours, examples, images)}
      ${traces.length > 0 && traceSection(report, traces, images)}
      ${
        trees.length > 0 &&
        html`<section>
          <h2>Search trees</h2>
          <p class="quiet">
            One box a step: what was said, where it looked and what it saw there, how often the
            search went through it (n) and how good that was (Q). Below, the chains that were cut
            from it.
          </p>
          ${trees.map((tree) => html`<div class="scroll tree">${tree}</div>`)}
        </section>`
      }
      <section>
        <h2>Made with</h2>
        <dl class="facts">
          ${Object.entries(report.facts).map(
            ([name, value]) =>
              html`<dt>${name}</dt>
                <dd>${value}</dd>`,
          )}
        </dl>
      </section>
    </main>`;
  return pageHtml(report.title, reportCss + armFilterCss(report, traces), body);
}

/** A page that needs nothing else: no scripts, no requests. @param css written by us, never by a model */
export function pageHtml(title: string, css: string, body: Html): string {
  const page = html`<!doctype html>
    <html lang="en">
      <head>
        <meta charset="utf-8" />
        <meta name="viewport" content="width=device-width, initial-scale=1" />
        <meta
          http-equiv="Content-Security-Policy"
          content="default-src 'none'; img-src data:; style-src 'unsafe-inline'"
        />
        <title>${title}</title>
        <style>
          ${new Html(css)}
        </style>
      </head>
      <body>
        ${body}
      </body>
    </html> `;
  return page.markup;
}

function taskSection(report: Report, task: string): Html {
  const arms = report.arms.filter((arm) => arm.task === task);
  const comparisons = report.comparisons.filter((comparison) => comparison.task === task);
  const found = findings(report, task);
  const texts = explained(report, arms);
  return html`<section>
    <h2>${task}</h2>
    ${found.length > 0 && html`<p class="found">${found.join(" ")}</p>`}
    ${accuracyChart(arms, report.main)}
    ${
      texts.length > 0 &&
      html`<dl class="arms">
        ${texts.map(
          ([name, text]) =>
            html`<dt class="${armKind(name, report.main)}">${name}</dt>
              <dd>${text}</dd>`,
        )}
      </dl>`
    }
    <div class="scroll">
      <table>
        <thead>
          <tr>
            <th>arm</th>
            <th>n</th>
            <th>accuracy</th>
            <th>95 % interval</th>
            <th>tool uses per episode</th>
            <th>seconds</th>
          </tr>
        </thead>
        <tbody>
          ${arms.map(
            (arm) =>
              html`<tr class="${armKind(arm.name, report.main)}">
                <td>${arm.name}</td>
                <td>${arm.n}</td>
                <td><b>${percent(arm.accuracy)}</b></td>
                <td>${interval(arm.ci95)}</td>
                <td>${arm.toolUsesPerEpisode.toFixed(2)}</td>
                <td>${arm.seconds.toFixed(1)}</td>
              </tr>`,
          )}
        </tbody>
      </table>
    </div>
    ${arms.flatMap(notesOf).map((note) => html`<p>${note}</p>`)} ${sections(arms)}
    ${
      comparisons.length > 0 &&
      html`<h3>Differences on the same questions</h3>
        <div class="scroll">
          <table>
            <thead>
              <tr>
                <th>arm</th>
                <th>against</th>
                <th>points</th>
                <th>95 % interval</th>
                <th>p (McNemar)</th>
              </tr>
            </thead>
            <tbody>
              ${comparisons.map(
                (c) =>
                  html`<tr>
                    <td>${c.arm}</td>
                    <td>${c.against}</td>
                    <td><b>${signed(c.difference)}</b></td>
                    <td>${signed(c.ci95[0])} to ${signed(c.ci95[1])}</td>
                    <td>${formatP(c.p)}</td>
                  </tr>`,
              )}
            </tbody>
          </table>
        </div>`
    }
    ${categoryTable(arms, report.main)}
  </section>`;
}

/** What some arms have besides their accuracy. */
function sections(arms: readonly Arm[]): Html[] {
  return sectionsOf(arms).map(
    ({ title, lines, tables }) =>
      html`${title !== null && html`<h3>${title}</h3>`} ${lines.map((line) => html`<p>${line}</p>`)}
      ${tables.map(
        ({ rows: [header, ...rows] }) =>
          html`<div class="scroll">
            <table>
              <thead>
                <tr>
                  ${header.map((cell) => html`<th>${cell}</th>`)}
                </tr>
              </thead>
              <tbody>
                ${rows.map(
                  (row) =>
                    html`<tr>
                      ${row.map((cell) => html`<td>${cell}</td>`)}
                    </tr>`,
                )}
              </tbody>
            </table>
          </div>`,
      )}`,
  );
}

function categoryTable(arms: readonly Arm[], main?: string): Html | null {
  const categories = [...new Set(arms.flatMap((arm) => Object.keys(arm.categories)))].sort();
  if (categories.length < 2) return null;
  return html`<h3>By category</h3>
    <div class="scroll">
      <table>
        <thead>
          <tr>
            <th>arm</th>
            ${categories.map((c) => html`<th>${c}</th>`)}
          </tr>
        </thead>
        <tbody>
          ${arms.map(
            (arm) =>
              html`<tr class="${armKind(arm.name, main)}">
                <td>${arm.name}</td>
                ${categories.map((category) => {
                  const entry = arm.categories[category];
                  return html`<td>
                    ${entry && html`<span title="${interval(entry.ci95)}, n = ${entry.n}">${percent(entry.accuracy)}</span>`}
                  </td>`;
                })}
              </tr>`,
          )}
        </tbody>
      </table>
    </div>`;
}

/** Curves of one metric together, in the order of the first. */
function byMetric(curves: readonly Curve[]): Curve[][] {
  return [...new Set(curves.map(({ metric }) => metric))].map((metric) =>
    curves.filter((curve) => curve.metric === metric),
  );
}
