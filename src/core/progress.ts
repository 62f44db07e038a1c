/**
 * Progress for people: step, rate, key figures and time left, on stderr. A terminal gets one line
 * that is rewritten; a log file gets a plain line now and then. Quiet where the caller says so.
 */

import { plainLine, plainText } from "./plain-text.ts";

export interface ProgressOptions {
  /** What is going on: `rl`, `eval search`. */
  readonly label: string;
  /** How many units there are in all. */
  readonly total: number;
  /** Units that were done before (a resumed run). */
  readonly done?: number;
  /** Name of one unit, in the plural: `steps`, `questions`. */
  readonly unit?: string;
  readonly quiet?: boolean;
  /** Between two plain lines; a terminal is refreshed ten times a second at most. */
  readonly intervalMs?: number;
  readonly stream?: ProgressStream;
}

/** What is needed of `process.stderr`. */
export interface ProgressStream {
  write(text: string): unknown;
  readonly isTTY?: boolean;
  readonly columns?: number;
}

/** Key figures of the moment, in the order in which they are shown. */
export type Figures = Readonly<Record<string, number | string>>;

/** A running display; call `finish` at the end, whatever the end is. */
export class Progress {
  private readonly options: Required<ProgressOptions>;
  private readonly startedAtMs = Date.now();
  private shownAtMs = 0;
  private done: number;
  private shownDone: number;
  private figures: Figures = {};
  private lineOpen = false;
  private finished = false;

  constructor(options: ProgressOptions) {
    this.options = {
      done: 0,
      unit: "steps",
      quiet: false,
      intervalMs: 5000,
      stream: process.stderr,
      ...options,
    };
    this.done = this.options.done;
    this.shownDone = this.done;
  }

  /** Says how many units are done, and the figures to show beside them. */
  update(done: number, figures: Figures = this.figures): void {
    this.done = done;
    this.figures = figures;
    const wait = this.options.stream.isTTY === true ? 100 : this.options.intervalMs;
    if (Date.now() - this.shownAtMs >= wait || done >= this.options.total) this.show();
  }

  /** Writes a line of its own above the display. */
  note(text: string): void {
    if (this.options.quiet) return;
    this.clearLine();
    this.options.stream.write(`${plainText(text)}\n`);
  }

  /** Shows the last state and leaves the line. */
  finish(): void {
    if (this.finished) return;
    this.finished = true;
    if (this.done !== this.shownDone) this.show();
    if (this.lineOpen) this.options.stream.write("\n");
    this.lineOpen = false;
  }

  private show(): void {
    if (this.options.quiet) return;
    this.shownAtMs = Date.now();
    this.shownDone = this.done;
    const { label, total, unit, stream } = this.options;
    const seconds = (this.shownAtMs - this.startedAtMs) / 1000;
    const measured = this.done - this.options.done;
    const state = {
      label,
      total,
      unit,
      done: this.done,
      // One unit says nothing of the next: it may hold what happens but once.
      rate: seconds > 0 && measured >= MIN_MEASURED ? measured / seconds : 0,
      figures: this.figures,
    };
    if (stream.isTTY === true) {
      this.clearLine();
      stream.write(progressLine(state, (stream.columns ?? 80) - 1));
      this.lineOpen = true;
    } else {
      stream.write(`${progressLine(state)}\n`);
    }
  }

  private clearLine(): void {
    if (this.lineOpen) this.options.stream.write("\r\x1b[2K");
    this.lineOpen = false;
  }
}

/** Units that a rate, and the time left, are worked out from at least. */
const MIN_MEASURED = 2;

/**
 * `4 min 44 s left · rl 12/100 steps · 0.31/s · reward 0.42`: what people look for first. Parts that do
 * not fit into `columns` are left out, the last ones first; none is cut but the label.
 */
export function progressLine(
  state: {
    label: string;
    done: number;
    total: number;
    unit: string;
    rate: number;
    figures: Figures;
  },
  columns = Number.POSITIVE_INFINITY,
): string {
  const { label, done, total, unit, rate, figures } = state;
  const left = rate > 0 && done < total ? [`${formatDuration((total - done) / rate)} left`] : [];
  const count = `${done}/${total} ${unit}`;
  const room = Math.max(1, columns - [...left, count].join(SEPARATOR).length - 1);
  const name = plainLine(label);
  const short = name.length <= room ? name : `${name.slice(0, Math.max(0, room - 1))}…`;
  let line = plainLine([...left, `${short} ${count}`].join(SEPARATOR));
  const others = [
    ...(rate > 0 ? [formatRate(rate)] : []),
    ...Object.entries(figures).map(([key, value]) => `${key} ${formatFigure(value)}`),
  ];
  for (const part of others) {
    const longer = plainLine([line, part].join(SEPARATOR));
    if (longer.length > columns) break;
    line = longer;
  }
  return line;
}

const SEPARATOR = " · ";

/** `45 s`, `4 min 05 s`, `2 h 10 min`. */
export function formatDuration(seconds: number): string {
  const whole = Math.round(seconds);
  if (whole < 60) return `${whole} s`;
  if (whole < 3600) return `${Math.floor(whole / 60)} min ${String(whole % 60).padStart(2, "0")} s`;
  return `${Math.floor(whole / 3600)} h ${String(Math.floor((whole % 3600) / 60)).padStart(2, "0")} min`;
}

function formatRate(perSecond: number): string {
  return perSecond >= 10 ? `${perSecond.toFixed(0)}/s` : `${perSecond.toFixed(2)}/s`;
}

function formatFigure(value: number | string): string {
  if (typeof value === "string") return value;
  if (Number.isInteger(value)) return String(value);
  const size = Math.abs(value);
  return size >= 100 || size < 0.001 ? value.toPrecision(3) : value.toFixed(3);
}
