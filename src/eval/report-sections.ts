/**
 * What stands below the table of arms, in every form of a report: notes, a sentence each, and sections of
 * lines and tables for what some arms have besides their accuracy.
 */
import { markdownTable, markdownText, textTable } from "../core/plain-text.ts";
import { benchmarkTables } from "./benchmarks/arm-figures.ts";
import { formatP, interval, percent } from "./report-figures.ts";
import type { Arm } from "./report.ts";
import { shownK, type SampleFigure } from "./samples.ts";
import { grouped, money, type Spent } from "./spent.ts";

/** Tables have their header first; columns behind the first `texts` are numbers. */
export interface Section {
  readonly title: string | null;
  /** A terminal shows it, too. */
  readonly isShort: boolean;
  readonly lines: readonly string[];
  readonly tables: readonly { readonly rows: string[][]; readonly texts: number }[];
}

/** The sections of the arms of one task. */
export function sectionsOf(arms: readonly Arm[]): Section[] {
  const each = arms.map(optionSection);
  return [benchmarkSection(arms), sampleSection(arms), ...each, spentSection(arms)].filter(
    (one) => one !== null,
  );
}

/** What a terminal shows of them, the arms of all tasks together. */
export function sectionsText(arms: readonly Arm[]): string[] {
  return sectionsOf(arms)
    .filter(({ isShort }) => isShort)
    .flatMap(({ lines, tables }) => [
      "",
      ...lines,
      ...tables.flatMap(({ rows, texts }) => textTable(rows, texts)),
    ]);
}

export function sectionsMarkdown(arms: readonly Arm[]): string[] {
  return sectionsOf(arms).flatMap(({ title, lines, tables }) => [
    ...(title === null ? [] : [`### ${markdownText(title)}`, ""]),
    ...lines.flatMap((line) => [markdownText(line), ""]),
    ...tables.flatMap(({ rows, texts }) => [...markdownTable(rows, texts), ""]),
  ]);
}

function benchmarkSection(arms: readonly Arm[]): Section | null {
  const found = benchmarkTables(arms);
  if (found === null) return null;
  const tables = found.tables.map((rows) => ({ rows, texts: rows[0].length }));
  return { title: null, isShort: false, lines: found.lines, tables };
}

/** pass@k and majorities of the arms whose questions have several samples. */
function sampleSection(arms: readonly Arm[]): Section | null {
  const shown = arms.flatMap(({ name, task, sampled }) =>
    sampled === undefined ? [] : [{ name, task, sampled }],
  );
  if (shown.length === 0) return null;
  const found = shown.flatMap(({ sampled }) => shownK(sampled).map(({ k }) => k));
  const all = [...new Set(found)].sort((a, b) => a - b);
  const cell = (one: SampleFigure | null | undefined) =>
    one ? `${percent(one.accuracy)} (${interval(one.ci95)})` : "";
  const rows = shown.map(({ name, task, sampled: { samples, passAt, majority } }) => [
    name,
    task,
    String(samples),
    ...all.map((at) => cell(passAt.find(({ k }) => k === at))),
    cell(majority),
    majority === null ? "" : String(majority.ties),
  ]);
  const passes = all.map((k) => `pass@${k}`);
  const header = ["arm", "task", "samples", ...passes, "majority", "ties"];
  return {
    title: "Several samples",
    isShort: true,
    lines: [],
    tables: [{ rows: [header, ...rows], texts: 2 }],
  };
}

/** Tokens and time of the arms, and what they cost where a price is known. */
function spentSection(arms: readonly Arm[]): Section | null {
  const shown = arms.flatMap(({ name, task, spent }) =>
    spent === undefined ? [] : [{ name, task, spent }],
  );
  if (shown.length === 0) return null;
  const isPaid = shown.some(({ spent }) => spent.cost !== undefined);
  const cost = ({ price, cost: paid }: Spent) =>
    price === undefined || paid === undefined ? "" : money(paid, price);
  const rows = shown.map(({ name, task, spent }) => [
    name,
    task,
    grouped(spent.calls),
    grouped(spent.promptTokens),
    grouped(spent.generatedTokens),
    grouped(spent.toolUses),
    spent.seconds.toFixed(1),
    ...(isPaid ? [cost(spent)] : []),
  ]);
  const header = ["arm", "task", "calls", "prompt tokens", "generated", "tool uses", "seconds"];
  return {
    title: "What it took",
    isShort: true,
    lines: [],
    tables: [{ rows: [isPaid ? [...header, "cost"] : header, ...rows], texts: 2 }],
  };
}

function optionSection({ name, options }: Arm): Section | null {
  if (options === undefined) return null;
  const share = (value: number | null) => (value === null ? "" : percent(value));
  const rows = options.places.map(({ asItIs, shuffled }, i) => [
    String(i + 1),
    ...[asItIs, shuffled].flatMap(({ n, accuracy, chosen }) => [
      String(n),
      share(accuracy),
      String(chosen),
    ]),
  ]);
  const header = [
    "place of the right option",
    ...["as it is", "shuffled"].flatMap((order) => [`n, ${order}`, "accuracy", "chosen"]),
  ];
  return {
    title: `${name}: by place`,
    isShort: false,
    lines: [],
    tables: [{ rows: [header, ...rows], texts: 1 }],
  };
}

/** What a reader has to know of questions that were not asked; null where all were. */
function unansweredNote({ task, name, n, unanswered }: Arm): string | null {
  if (unanswered === undefined) return null;
  const { count, reason } = unanswered;
  return `${task}, ${name}: ${count} of ${n + count} questions could not be asked and are not counted: ${reason}`;
}

/** What a reader has to know of verdicts by a model; null where none was asked. */
function judgedNote({ task, name, judged }: Arm): string | null {
  if (judged === undefined) return null;
  const { count, unread, agreement } = judged;
  const same =
    agreement === null ? "" : `; the rules agree with ${percent(agreement)} of its verdicts`;
  const apart =
    unread === 0 ? "" : `, of ${unread} of them without a verdict, which are not counted`;
  return `${task}, ${name}: ${count} answers were judged by a model${apart}${same}`;
}

/** What the order of options does, and which questions have no other; null for other arms. */
function optionNote({ task, name, options }: Arm): string | null {
  if (options === undefined) return null;
  const { n, moved, lost, gained, sameChoice, p, leftOut } = options;
  const depends =
    p === null
      ? "accuracy does not differ between places"
      : `accuracy ${p < 0.05 ? "depends on the place of the right option" : "depends on no place that can be told"} (permutation test, p = ${formatP(p)})`;
  return [
    `${task}, ${name}: of ${n} questions ${moved} have their right option elsewhere; ${lost} are right only as they stand, ${gained} only shuffled`,
    ...(sameChoice === null ? [] : [`${percent(sameChoice)} keep their choice`]),
    depends,
    ...Object.entries(leftOut).map(([reason, count]) => `${count} that ${reason} are not asked`),
  ].join("; ");
}

/** What stands below the table of an arm. */
export function notesOf(arm: Arm): string[] {
  return [unansweredNote(arm), judgedNote(arm), optionNote(arm)].filter((note) => note !== null);
}
