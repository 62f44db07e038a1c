/**
 * Reads a dataset through as a run would: every line, every picture, and whether anybody could answer.
 * A region that no click in the picture can hit, and text that no prompt may hold, are problems, since
 * they cost a run an episode each; what merely looks wrong is a warning.
 */
import { VigorlError } from "../core/errors.ts";
import type { Size } from "../image/frames.ts";
import { loadImages, type PlacedRecord, type TaskRecord } from "../task/record.ts";
import { numDistinct } from "../task/kinds/choice.ts";
import { boundsOf } from "../task/kinds/polygon.ts";
import { distinctRecords, openPlaced, type DatasetOptions } from "./dataset.ts";

/** Findings that are told in full; of the rest only the number. */
const maxTold = 20;

/** What is in a dataset. */
export interface Checked {
  readonly count: number;
  readonly kinds: Readonly<Record<string, number>>;
  /** Records whose kind is not written. */
  readonly numGuessed: number;
  /** The first warnings, and how many there are. */
  readonly warnings: readonly string[];
  readonly numWarnings: number;
}

/**
 * @throws VigorlError("input") at the first line that is no record, and at the end with the problems of
 *   those that are, or where the dataset is empty
 */
export async function checkDataset(
  file: string,
  options: DatasetOptions & { readonly signal?: AbortSignal } = {},
): Promise<Checked> {
  const kinds: Record<string, number> = {};
  const problems = new Findings();
  const warnings = new Findings();
  let count = 0;
  let numGuessed = 0;
  for await (const placed of distinctRecords(openPlaced(file, options))) {
    options.signal?.throwIfAborted();
    await checkRecord(placed, problems, warnings);
    count++;
    if (placed.isGuessed === true) numGuessed++;
    kinds[placed.record.kind] = (kinds[placed.record.kind] ?? 0) + 1;
  }
  if (count === 0) {
    throw new VigorlError("input", `${file}: holds no records`, {
      hint: "write one question a line; see docs/data.md",
    });
  }
  if (problems.count > 0) {
    const only = problems.count === 1 ? problems.told[0] : undefined;
    const list = problems.lines().map((line) => `\n  ${line}`);
    const message =
      only ?? `${file}: ${problems.count} problems in ${count} records${list.join("")}`;
    throw new VigorlError("input", message, { hint: "mend these records, or leave them out" });
  }
  return { count, kinds, numGuessed, warnings: warnings.lines(), numWarnings: warnings.count };
}

/** Findings, the first of them in full. */
class Findings {
  readonly told: string[] = [];
  count = 0;

  add(text: string): void {
    if (this.count++ < maxTold) this.told.push(text);
  }

  lines(): string[] {
    const more = this.count - this.told.length;
    return more === 0 ? this.told : [...this.told, `and ${more} more`];
  }
}

async function checkRecord(
  { record, place }: PlacedRecord,
  problems: Findings,
  warnings: Findings,
): Promise<void> {
  const token = controlToken(record);
  if (token !== null) problems.add(`${place}: the question holds the control token ${token}`);
  const { kind, choices = [] } = record;
  if (kind === "choice" && numDistinct(choices) < choices.length)
    warnings.add(`${place}: some of its choices say the same`);
  let images;
  try {
    images = await loadImages(record);
  } catch (error) {
    if (!(error instanceof VigorlError)) throw error;
    const hint = error.hint === undefined ? "" : ` (${error.hint})`;
    return problems.add(`${place}: ${error.message}${hint}`);
  }
  const region = regionOf(record);
  if (region === null) return;
  const { text, isHit, ...sides } = region;
  const { widthPx, heightPx } = images[0];
  const picture = `the ${widthPx}×${heightPx} picture`;
  if (!isHit(images[0])) problems.add(`${place}: ${text} lies outside ${picture}`);
  else if (sides.x0 < 0 || sides.y0 < 0 || sides.x1 > widthPx || sides.y1 > heightPx)
    warnings.add(`${place}: ${text} reaches out of ${picture}`);
  if (sides.x1 - sides.x0 < 1 || sides.y1 - sides.y0 < 1)
    warnings.add(`${place}: ${text} is thinner than a pixel; coordinates are pixels, not shares`);
}

interface Region {
  readonly text: string;
  readonly x0: number;
  readonly y0: number;
  readonly x1: number;
  readonly y1: number;
  /** Whether some place of a picture lies in it. */
  readonly isHit: (size: Size) => boolean;
}

function regionOf({ answer }: TaskRecord): Region | null {
  if (typeof answer === "string" || "absent" in answer) return null;
  if ("box" in answer || "polygon" in answer) {
    const [x0, y0, x1, y1] = "box" in answer ? answer.box : boundsOf(answer.polygon);
    const isHit = ({ widthPx, heightPx }: Size) =>
      x0 < widthPx && y0 < heightPx && x1 > 0 && y1 > 0;
    const text = `${"box" in answer ? "box" : "polygon in"} [${[x0, y0, x1, y1].join(", ")}]`;
    return { text, x0, y0, x1, y1, isHit };
  }
  const [x, y] = answer.point;
  const { radius } = answer;
  const isHit = ({ widthPx, heightPx }: Size) =>
    Math.hypot(x - clamp(x, widthPx), y - clamp(y, heightPx)) <= radius;
  const text = `point [${x}, ${y}] with radius ${radius}`;
  // A point is a place, however small its radius; only a box can be too thin to be meant.
  return { text, x0: x, y0: y, x1: x + 1, y1: y + 1, isHit };
}

function clamp(value: number, end: number): number {
  return Math.min(Math.max(value, 0), end);
}

/** A token that chat templates speak with; a prompt with one is refused. */
function controlToken({ question, choices = [] }: TaskRecord): string | null {
  return /<\|[\w-]+\|>/.exec([question, ...choices].join("\n"))?.[0] ?? null;
}
