/**
 * Traces in the HTML report: for each question the arms side by side, each with the image, the
 * numbered points and tool uses drawn over it, what the tools returned, the text turn by turn, and the
 * reward by term. Images are embedded once a page and referred to.
 *
 * Frame: all places are in pixels of the original image; the SVG's viewBox is that image.
 */
import { hashText } from "../core/files.ts";
import type { Area, Canvas, Place } from "../image/draw.ts";
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

/** One tool call. */
export interface TraceUse {
  readonly name: string;
  /** What the model got to see; null where no picture came back. */
  readonly imageHash: string | null;
  readonly fault: string | null;
  /** The picture of the question that it is drawn on; null: on none. */
  readonly picture: number | null;
  readonly draw: (canvas: Canvas) => void;
}

export interface TracePoint {
  readonly picture: number;
  readonly x: number;
  readonly y: number;
  readonly turn: number;
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
  /** The question's pictures, by hash; places speak of one of them. */
  readonly pictures: readonly string[];
  readonly points: readonly TracePoint[];
  /** The answer, where it is a place; it and the right place lie on the first picture. */
  readonly answerAt?: { readonly x: number; readonly y: number };
  readonly uses: readonly TraceUse[];
  readonly turns: readonly TraceTurn[];
}

/** All traces of one question, one panel an arm. */
export function questionSection(
  traces: readonly TraceView[],
  images: ReadonlyMap<string, PageImage>,
  number: number,
  main?: string,
): Html {
  const [first] = traces;
  return html`<section class="question">
    <header>
      <span class="number">${number}</span>
      <h3>${first.question}</h3>
      <p>answer <b>${first.truth}</b> <span class="id">${first.task} · ${first.recordId}</span></p>
    </header>
    <div class="panels">${traces.map((trace) => panel(trace, images, main))}</div>
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

function panel(trace: TraceView, images: ReadonlyMap<string, PageImage>, main?: string): Html {
  const shown = trace.uses.filter((use) => use.fault === null);
  const verdict = trace.score >= 1 ? "right" : trace.score > 0 ? "partly" : "wrong";
  return html`<article class="panel" data-arm="${trace.arm}" data-verdict="${verdict}">
    <header>
      <span class="name ${armKind(trace.arm, main)}">${trace.arm}</span>
      <span class="verdict ${verdict}">${VERDICT[verdict]} ${trace.answer ?? "no answer"}</span>
    </header>
    ${trace.pictures.map((_, i) => tracePicture(trace, i, images))}
    ${shown.length > 0 && html`<div class="crops">${shown.map((use, i) => returned(use, i + 1, images))}</div>`}
    <div class="turns">${trace.turns.map(turn)}</div>
    <footer>
      ${trace.stopReason}${trace.error !== null && html` · <em>${trace.error}</em>`}
      ${Object.entries(trace.reward).map(([term, value]) => html`<span class="term">${term} <b>${formatReward(value)}</b></span>`)}
    </footer>
  </article>`;
}

const VERDICT = { right: "✓", partly: "◐", wrong: "✗" };

/** A picture of a trace with its points and tool uses. @param where tells it apart where a page has it twice */
export function tracePicture(
  trace: TraceView,
  index: number,
  images: ReadonlyMap<string, PageImage>,
  where = "",
): Html {
  const hash = trace.pictures[index];
  const image = images.get(hash);
  if (!image) return html`<p class="missing">image ${hash.slice(0, 12)} is not in this page</p>`;
  const { widthPx, heightPx } = image;
  const unit = Math.max(widthPx, heightPx) / 100;
  const points = trace.points
    .map((at, i) => ({ ...at, number: i + 1 }))
    .filter((at) => at.picture === index);
  const canvas = new SvgCanvas(unit);
  for (const use of trace.uses) if (use.picture === index) use.draw(canvas);
  const truthBox = index === 0 ? trace.truthBox : undefined;
  const answerAt = index === 0 ? trace.answerAt : undefined;
  const shot = `large-${hashText(`${trace.task} ${trace.recordId} ${trace.arm} ${index}${where}`).slice(0, 12)}`;
  const drawing = html`<svg
    class="picture"
    viewBox="0 0 ${widthPx} ${heightPx}"
    role="img"
    aria-label="The image with the places that ${trace.arm} looked at"
  >
    <use href="#i${hash}" />
    ${truthBox && html`<rect class="truth" ${rectangle(...truthBox)} stroke-width="${0.7 * unit}" stroke-dasharray="${2 * unit} ${1.4 * unit}" />`}
    ${points.length > 1 && html`<polyline class="path" points="${points.map((p) => `${round(p.x)},${round(p.y)}`).join(" ")}" stroke-width="${0.5 * unit}" />`}
    ${canvas.marks} ${points.map((p) => marker(p.x, p.y, p.number, unit))}
    ${answerAt && html`<path class="answer" d="M0 ${-2.4 * unit}L${2.4 * unit} 0L0 ${2.4 * unit}L${-2.4 * unit} 0Z" transform="translate(${round(answerAt.x)} ${round(answerAt.y)})" />`}
  </svg>`;
  return html`<div class="shot" id="${shot}">
    <a class="open" href="#${shot}" title="enlarge">${drawing}</a
    ><a class="close" href="#-" title="close">×</a>
  </div>`;
}

/** Tools draw their uses on it; `unit` is a hundredth of the picture's longer side. */
class SvgCanvas implements Canvas {
  readonly marks: Html[] = [];
  private readonly unit: number;

  constructor(unit: number) {
    this.unit = unit;
  }

  box({ x0, y0, x1, y1 }: Area): void {
    const width = 0.7 * this.unit;
    this.marks.push(
      html`<rect class="use" ${rectangle(x0, y0, x1, y1)} stroke-width="${width}" />`,
    );
  }

  point({ x, y }: Place): void {
    const radius = 0.9 * this.unit;
    this.marks.push(
      html`<circle class="use dot" cx="${round(x)}" cy="${round(y)}" r="${radius}" />`,
    );
  }

  line(from: Place, to: Place): void {
    const width = 0.7 * this.unit;
    const ends = html`x1="${round(from.x)}" y1="${round(from.y)}" x2="${round(to.x)}"
    y2="${round(to.y)}"`;
    this.marks.push(html`<line class="use" ${ends} stroke-width="${width}" />`);
  }
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

function returned(use: TraceUse, number: number, images: ReadonlyMap<string, PageImage>): Html {
  const image = use.imageHash === null ? undefined : images.get(use.imageHash);
  return html`<figure>
    ${
      image
        ? html`<svg viewBox="0 0 ${image.widthPx} ${image.heightPx}">
            <use href="#i${use.imageHash}" />
          </svg>`
        : html`<div class="missing">no picture</div>`
    }
    <figcaption>${use.name} ${number}</figcaption>
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
    .split(/(<\/?(?:think|answer|tool_call|observation|tool_response)>|\(\s*\d+\s*,\s*\d+\s*\))/);
  return pieces.map((piece, i) => {
    if (i % 2 === 0) return html`${piece}`;
    return html`<span class="${piece.startsWith("(") ? "point" : "tag"}">${piece}</span>`;
  });
}

function rectangle(x0: number, y0: number, x1: number, y1: number): Html {
  return html`x="${round(x0)}" y="${round(y0)}" width="${round(x1 - x0)}" height="${round(y1 - y0)}"`;
}

function round(value: number): number {
  return Math.round(value * 100) / 100;
}

function formatReward(value: number): string {
  return Number.isInteger(value) ? String(value) : value.toFixed(2);
}
