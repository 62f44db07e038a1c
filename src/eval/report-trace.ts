/**
 * Traces in the HTML report: for each question the arms side by side, each with the image, the
 * numbered points and crops drawn over it, the crops themselves, the text turn by turn, and the
 * reward by term. Images are embedded once a page and referred to.
 *
 * Frame: all places are in pixels of the original image; the SVG's viewBox is that image.
 */
import { html, type Html } from "./html.ts";
import { armKind } from "./report-charts.ts";

/** An image of the page: original or crop. */
export interface PageImage {
  readonly dataUri: string;
  readonly widthPx: number;
  readonly heightPx: number;
}

export interface TraceTurn {
  readonly author: "prompt" | "model" | "environment" | "forced";
  readonly text: string;
}

/** One zoom: where it was cut, and the hash of what the model got to see (null where refused). */
export interface TraceZoom {
  readonly turn: number;
  readonly box: readonly [x0: number, y0: number, x1: number, y1: number];
  readonly imageHash: string | null;
}

export interface TraceView {
  readonly recordId: string;
  readonly task: string;
  readonly arm: string;
  readonly question: string;
  /** The right answer in words. */
  readonly truth: string;
  /** The box in which a right point lies, where the answer is a place. */
  readonly truthBox?: readonly [x0: number, y0: number, x1: number, y1: number];
  readonly answer: string | null;
  /** The judge's verdict, in [0, 1]. */
  readonly score: number;
  readonly reward: Readonly<Record<string, number>>;
  readonly stopReason: string;
  readonly error: string | null;
  readonly imageHash: string;
  readonly points: readonly { readonly x: number; readonly y: number; readonly turn: number }[];
  /** The answer, where it is a place. */
  readonly answerAt?: { readonly x: number; readonly y: number };
  readonly zooms: readonly TraceZoom[];
  readonly turns: readonly TraceTurn[];
}

/** All traces of one question, one panel an arm. */
export function questionSection(
  traces: readonly TraceView[],
  images: ReadonlyMap<string, PageImage>,
  number: number,
): Html {
  const [first] = traces;
  return html`<section class="question">
    <header>
      <span class="number">${number}</span>
      <h3>${first.question}</h3>
      <p>answer <b>${first.truth}</b> <span class="id">${first.task} · ${first.recordId}</span></p>
    </header>
    <div class="panels">${traces.map((trace) => panel(trace, images))}</div>
  </section>`;
}

/** The hidden SVG that holds every image once. */
export function imageStore(images: ReadonlyMap<string, PageImage>): Html {
  return html`<svg class="store" width="0" height="0" aria-hidden="true">
    <defs>
      ${[...images].map(
        ([hash, image]) =>
          html`<image
            id="i${hash}"
            width="${image.widthPx}"
            height="${image.heightPx}"
            href="${image.dataUri}"
          />`,
      )}
    </defs>
  </svg>`;
}

function panel(trace: TraceView, images: ReadonlyMap<string, PageImage>): Html {
  const verdict = trace.score >= 1 ? "right" : trace.score > 0 ? "partly" : "wrong";
  return html`<article class="panel" data-arm="${trace.arm}" data-verdict="${verdict}">
    <header>
      <span class="name ${armKind(trace.arm)}">${trace.arm}</span>
      <span class="verdict ${verdict}">${VERDICT[verdict]} ${trace.answer ?? "no answer"}</span>
    </header>
    ${picture(trace, images)}
    ${trace.zooms.length > 0 && html`<div class="crops">${trace.zooms.map((zoom, i) => crop(zoom, i + 1, images))}</div>`}
    <div class="turns">${trace.turns.map(turn)}</div>
    <footer>
      ${trace.stopReason}${trace.error !== null && html` · <em>${trace.error}</em>`}
      ${Object.entries(trace.reward).map(([term, value]) => html`<span class="term">${term} <b>${formatReward(value)}</b></span>`)}
    </footer>
  </article>`;
}

const VERDICT = { right: "✓", partly: "◐", wrong: "✗" };

function picture(trace: TraceView, images: ReadonlyMap<string, PageImage>): Html {
  const image = images.get(trace.imageHash);
  if (!image)
    return html`<p class="missing">image ${trace.imageHash.slice(0, 12)} is not in this page</p>`;
  const { widthPx, heightPx } = image;
  const unit = Math.max(widthPx, heightPx) / 100;
  return html`<svg
    class="picture"
    viewBox="0 0 ${widthPx} ${heightPx}"
    role="img"
    aria-label="The image with the places that ${trace.arm} looked at"
  >
    <use href="#i${trace.imageHash}" />
    ${trace.truthBox && html`<rect class="truth" ${rectangle(trace.truthBox)} stroke-width="${0.7 * unit}" stroke-dasharray="${2 * unit} ${1.4 * unit}" />`}
    ${trace.points.length > 1 && html`<polyline class="path" points="${trace.points.map((p) => `${round(p.x)},${round(p.y)}`).join(" ")}" stroke-width="${0.5 * unit}" />`}
    ${trace.zooms.map((zoom) => html`<rect class="zoom" ${rectangle(zoom.box)} stroke-width="${0.7 * unit}" />`)}
    ${trace.points.map((p, i) => marker(p.x, p.y, i + 1, unit))}
    ${trace.answerAt && html`<path class="answer" d="M0 ${-2.4 * unit}L${2.4 * unit} 0L0 ${2.4 * unit}L${-2.4 * unit} 0Z" transform="translate(${round(trace.answerAt.x)} ${round(trace.answerAt.y)})" />`}
  </svg>`;
}

function marker(x: number, y: number, number: number, unit: number): Html {
  return html`<g class="marker" transform="translate(${round(x)} ${round(y)})"
    ><circle r="${0.6 * unit}" />
    <g transform="translate(${3 * unit} ${-3 * unit})"
      ><circle class="badge" r="${2.6 * unit}" /><text font-size="${3.4 * unit}" y="${1.2 * unit}"
        >${number}</text
      ></g
    ></g
  >`;
}

function crop(zoom: TraceZoom, number: number, images: ReadonlyMap<string, PageImage>): Html {
  const image = zoom.imageHash === null ? undefined : images.get(zoom.imageHash);
  return html`<figure>
    ${
      image
        ? html`<svg viewBox="0 0 ${image.widthPx} ${image.heightPx}">
            <use href="#i${zoom.imageHash}" />
          </svg>`
        : html`<div class="missing">no crop</div>`
    }
    <figcaption>zoom ${number}</figcaption>
  </figure>`;
}

function turn({ author, text }: TraceTurn): Html {
  if (author === "prompt")
    return html`<details class="turn prompt">
      <summary>prompt</summary>
      <p>${tagged(text)}</p>
    </details>`;
  return html`<div class="turn ${author}">
    <span class="author">${author}</span>
    <p>${tagged(text)}</p>
  </div>`;
}

/** Text with the tags of the trace grammar and the points in it set apart. */
function tagged(text: string): Html[] {
  const pieces = text
    .trim()
    .split(/(<\/?(?:think|answer|tool_call|observation)>|\(\s*\d+\s*,\s*\d+\s*\))/);
  return pieces.map((piece, i) => {
    if (i % 2 === 0) return html`${piece}`;
    return html`<span class="${piece.startsWith("(") ? "point" : "tag"}">${piece}</span>`;
  });
}

function rectangle([x0, y0, x1, y1]: TraceZoom["box"]): Html {
  return html`x="${round(x0)}" y="${round(y0)}" width="${round(x1 - x0)}" height="${round(y1 - y0)}"`;
}

function round(value: number): number {
  return Math.round(value * 100) / 100;
}

function formatReward(value: number): string {
  return Number.isInteger(value) ? String(value) : value.toFixed(2);
}
