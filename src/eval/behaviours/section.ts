/**
 * Behaviours as a section of a page: the table, the differences, and of each behaviour a trace that shows
 * it, with its points and tool uses drawn into the picture.
 */
import { behaviourTable, behaviourNames } from "../../task/behaviours.ts";
import { html, type Html } from "../html.ts";
import { tracePicture, type PageImage } from "../report-trace.ts";
import type { BehaviourExample, BehaviourReport } from "./watch.ts";
import {
  differenceRows,
  headOf,
  judgeRows,
  notesOf,
  ruleRows,
  toldDifferences,
  untoldNote,
} from "./words.ts";

export function behaviourSection(
  report: BehaviourReport,
  examples: readonly BehaviourExample[],
  images: ReadonlyMap<string, PageImage>,
): Html {
  const { told, untold } = toldDifferences(report.differences);
  return html`<section class="behaviours">
    <h2>Behaviours</h2>
    ${table(ruleRows(report), 2)}
    ${
      report.judge !== null &&
      html`<h3>By the judge</h3>
        ${table(judgeRows(report), 2)}`
    }
    ${
      told.length > 0 &&
      html`<h3>Differences</h3>
        ${table(differenceRows(told), 5)}`
    }
    ${[...notesOf(report), ...untoldNote(untold)].map((note) => html`<p class="quiet">${note}</p>`)}
    <dl class="arms">
      ${behaviourNames.map(
        (name) =>
          html`<dt>${headOf[name]}</dt>
            <dd>${behaviourTable[name]}</dd>`,
      )}
    </dl>
    ${
      examples.length > 0 &&
      html`<div class="panels">${examples.map((example) => exampleOf(example, images))}</div>`
    }
  </section>`;
}

function exampleOf(
  { behaviour, count, quotes, view }: BehaviourExample,
  images: ReadonlyMap<string, PageImage>,
): Html {
  const figure = Number.isInteger(count) ? String(count) : count.toFixed(2);
  const said = quotes.length > 0 ? quotes : view.turns.flatMap(ownWords);
  return html`<article class="panel example">
    <header><span class="name">${headOf[behaviour]}</span><span>${figure}</span></header>
    ${view.pictures.map((_, i) => tracePicture(view, i, images, behaviour))}
    <div class="turns">
      <p class="author">${view.question}</p>
      ${said.slice(0, mostQuotes).map((text) => html`<div class="turn model"><p>${text}</p></div>`)}
      ${said.length > mostQuotes && html`<p class="author">and ${said.length - mostQuotes} more</p>`}
    </div>
    <footer>${view.task} · ${view.arm} · ${view.recordId}</footer>
  </article>`;
}

/** Of an example, so many sentences are shown. */
const mostQuotes = 6;

function ownWords({ author, text }: BehaviourExample["view"]["turns"][number]): string[] {
  return author === "model" ? [text] : [];
}

function table([header, ...rows]: readonly string[][], texts: number): Html {
  const side = (i: number) => (i < texts ? "text" : "");
  return html`<div class="scroll">
    <table>
      <thead>
        <tr>
          ${header.map((cell, i) => html`<th class="${side(i)}">${cell}</th>`)}
        </tr>
      </thead>
      <tbody>
        ${rows.map(
          (row) =>
            html`<tr>
              ${row.map((cell, i) => html`<td class="${side(i)}">${cell}</td>`)}
            </tr>`,
        )}
      </tbody>
    </table>
  </div>`;
}
