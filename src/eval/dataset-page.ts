/**
 * A dataset to look at: one page that needs nothing else, a card a question with its picture, and the
 * places of its answer and its evidence drawn in.
 */
import { encodeJpeg } from "../image/decode.ts";
import { shrinkTo } from "../image/resize.ts";
import { shownTruth } from "../task/kinds.ts";
import { loadImages, type TaskRecord } from "../task/record.ts";
import { html, Html } from "./html.ts";
import { pageHtml } from "./report-html.ts";
import { reportCss } from "./report-style.ts";

/** Longest side of a picture in the page. */
const pictureSidePx = 640;

/** The page of records, in their order. @throws VigorlError("input") for a missing or broken image */
export async function datasetPage(
  title: string,
  records: readonly TaskRecord[],
  count: number,
): Promise<string> {
  const cards: Html[] = [];
  for (const record of records) cards.push(await card(record));
  const shown = records.length < count ? `the first ${records.length} of ${count}` : `${count}`;
  const body = html`<main>
    <header class="top">
      <h1>${title}</h1>
      <p class="quiet">${shown} questions. Pink: the region of the answer. Blue: evidence.</p>
    </header>
    <div class="gallery">${cards}</div>
  </main>`;
  return pageHtml(title, reportCss + css, body);
}

async function card(record: TaskRecord): Promise<Html> {
  const images = await loadImages(record);
  const { text, box } = shownTruth(record);
  const pictures: Html[] = [];
  for (const [i, image] of images.entries()) {
    const bytes = await encodeJpeg(shrinkTo(image, pictureSidePx), 85);
    const { widthPx, heightPx } = image;
    const marks =
      i > 0 ? [] : [...(box === undefined ? [] : [rectangle(box, "truth")]), ...evidence(record)];
    pictures.push(
      html`<svg class="picture" viewBox="0 0 ${widthPx} ${heightPx}" role="img">
        <image
          href="data:image/jpeg;base64,${Buffer.from(bytes).toString("base64")}"
          width="${widthPx}"
          height="${heightPx}"
        />
        ${marks}
      </svg>`,
    );
  }
  const { id, kind, question, choices = [], category } = record;
  return html`<article class="record">
    ${pictures}
    <p class="id">${id} · ${kind}${category === undefined ? "" : ` · ${category}`}</p>
    <p>${question}</p>
    ${choices.length > 0 && html`<p class="quiet">${choices.join(" | ")}</p>`}
    <p><b>${text}</b></p>
  </article>`;
}

function evidence({ evidence: places = [] }: TaskRecord): Html[] {
  return places.map((place) =>
    "box" in place
      ? rectangle(place.box, "seen")
      : html`<circle class="seen" cx="${place.point[0]}" cy="${place.point[1]}" r="6" />`,
  );
}

function rectangle(
  [x0, y0, x1, y1]: readonly [number, number, number, number],
  kind: string,
): Html {
  return html`<rect class="${kind}" x="${x0}" y="${y0}" width="${x1 - x0}" height="${y1 - y0}" />`;
}

const css = `
.gallery{display:grid;grid-template-columns:repeat(auto-fill,minmax(260px,1fr));gap:24px;margin-top:32px}
.record{margin:0;overflow-wrap:anywhere}.record p{margin:6px 0}.record .id{color:var(--quiet);font-size:12px}
.picture{width:100%;height:auto;border:1px solid var(--rule);display:block}
.truth,.seen{fill:none;stroke-width:2;vector-effect:non-scaling-stroke}
.truth{stroke:var(--mark)}.seen{stroke:var(--main)}
`;
