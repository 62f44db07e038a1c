/**
 * What a report says, and its JSON and Markdown forms. The HTML form is `report-html.ts`. Numbers
 * come in finished; nothing is computed here but the wording.
 */
import { z } from "zod";
import { markdownCode, markdownText, textTable } from "../core/plain-text.ts";
import type { Interval } from "../core/statistics.ts";
import type { BehaviourReport } from "./behaviours/watch.ts";
import { behaviourMarkdown } from "./behaviours/words.ts";
import { conditionTable, type Condition } from "./controls.ts";
import { benchmarkArmSchema, benchmarkText } from "./benchmarks/arm-figures.ts";
import { optionOrderSchema } from "./option-order.ts";
import { formatP, interval, percent, signed } from "./report-figures.ts";
import { notesOf, sectionsMarkdown, sectionsText } from "./report-sections.ts";
import { sampleFactsSchema } from "./samples.ts";
import { spentSchema } from "./spent.ts";

/** One arm: one model under one condition over one set of questions. */
export const armSchema = z.strictObject({
  name: z.string(),
  task: z.string(),
  n: z.int(),
  /** Mean of the judges' verdicts, in [0, 1]. */
  accuracy: z.number(),
  /** 95 % Wilson interval of the accuracy. */
  ci95: z.tuple([z.number(), z.number()]),
  toolUsesPerEpisode: z.number(),
  seconds: z.number(),
  categories: z.record(
    z.string(),
    z.strictObject({
      n: z.int(),
      accuracy: z.number(),
      ci95: z.tuple([z.number(), z.number()]),
    }),
  ),
  /** How episodes ended, by stop reason. */
  stopReasons: z.record(z.string(), z.int()),
  /** Questions that got no answer through no fault of the model; they are not among `n`. */
  unanswered: z.strictObject({ count: z.int(), reason: z.string() }).optional(),
  /**
   * Where a model judged: answers that it was asked about, those among them that it gave no verdict of
   * (they are not among `n`), and the share of its verdicts that the rules share.
   */
  judged: z
    .strictObject({ count: z.int(), unread: z.int(), agreement: z.number().nullable() })
    .optional(),
  /** Where the questions are those of a published benchmark. */
  benchmark: benchmarkArmSchema.optional(),
  /** Tokens, calls of tools, time and money; absent in old runs. */
  spent: spentSchema.optional(),
  /** Where a question has several samples. */
  sampled: sampleFactsSchema.optional(),
  /** Where options were shuffled: what their order does. */
  options: optionOrderSchema.optional(),
});
export type Arm = z.infer<typeof armSchema>;

/** Two arms that answered the same questions. */
export interface Comparison {
  readonly task: string;
  readonly arm: string;
  readonly against: string;
  /** accuracy(arm) − accuracy(against), with its bootstrap interval and the McNemar p-value. */
  readonly difference: number;
  readonly ci95: Interval;
  readonly p: number;
}

/** A curve of training: one value a step. */
export interface Curve {
  readonly stage: string;
  readonly metric: string;
  readonly steps: readonly number[];
  readonly values: readonly number[];
}

/** Something in the figures of training that looks like learning and is none. */
export interface StageAlarm {
  readonly stage: string;
  readonly step: number;
  readonly message: string;
}

export interface Report {
  readonly version: 1;
  readonly title: string;
  /** The command that made it. */
  readonly command: string;
  readonly createdAt: string;
  /** What has to be known before any figure is believed. */
  readonly warnings?: readonly string[];
  /** What it ran on and with: commit, libtorch, processor, …; shown as it is. */
  readonly facts: Readonly<Record<string, string>>;
  /** The arm that the others are compared with. */
  readonly main?: string;
  /** The arm that it started from, which stands beside it. */
  readonly base?: string;
  /** What arms are, for those whose name does not say it. */
  readonly armTexts?: Readonly<Record<string, string>>;
  readonly arms: readonly Arm[];
  readonly comparisons: readonly Comparison[];
  readonly curves: readonly Curve[];
  /** Of training; none where nothing was trained. */
  readonly alarms?: readonly StageAlarm[];
  /** What the arms do while they look, where traces were kept. */
  readonly behaviours?: BehaviourReport;
}

/** The report as JSON text, two spaces deep, newline at the end. */
export function reportJson(report: Report): string {
  return `${JSON.stringify(report, null, 2)}\n`;
}

/** The report as Markdown: the table of arms, comparisons, categories, facts. */
export function reportMarkdown(report: Report): string {
  const made = `${markdownCode(report.command)} · ${markdownText(report.createdAt)}`;
  const parts = [`# ${markdownText(report.title)}`, "", made, ""];
  for (const warning of report.warnings ?? []) parts.push(`**${markdownText(warning)}**`, "");
  for (const task of tasksOf(report.arms)) {
    const arms = report.arms.filter((arm) => arm.task === task);
    const found = findings(report, task).map(markdownText).join(" ");
    parts.push(`## ${markdownText(task)}`, "", ...(found === "" ? [] : [found, ""]));
    parts.push(...armTable(arms), "");
    parts.push(
      ...explained(report, arms).map(
        ([name, text]) => `- ${markdownText(name)}: ${markdownText(text)}`,
      ),
      "",
    );
    for (const note of arms.flatMap(notesOf)) parts.push(markdownText(note), "");
    parts.push(...sectionsMarkdown(arms));
    const comparisons = report.comparisons.filter((comparison) => comparison.task === task);
    if (comparisons.length > 0) {
      parts.push("| arm | against | difference | 95 % interval | p (McNemar) |");
      parts.push("| --- | --- | ---: | ---: | ---: |");
      for (const c of comparisons)
        parts.push(
          `| ${markdownText(c.arm)} | ${markdownText(c.against)} | ${signed(c.difference)} | ${signed(c.ci95[0])} to ${signed(c.ci95[1])} | ${formatP(c.p)} |`,
        );
      parts.push("");
    }
    parts.push(...categoryTable(arms));
  }
  const { alarms = [] } = report;
  if (alarms.length > 0)
    parts.push(
      "## Alarms of training",
      "",
      ...alarms.map((one) => `- ${markdownText(alarmText(one))}`),
      "",
    );
  if (report.behaviours !== undefined) parts.push(...behaviourMarkdown(report.behaviours));
  parts.push("## Made with", "");
  for (const [name, value] of Object.entries(report.facts))
    parts.push(`- ${markdownText(name)}: ${markdownText(value)}`);
  return `${parts.join("\n")}\n`;
}

/** The table that a terminal shows at the end of a run. */
export function reportText(report: Report): string {
  const header = ["arm", "task", "n", "accuracy", "95 % interval", "tool uses", "seconds"];
  const rows = report.arms.map((arm) => [
    arm.name,
    arm.task,
    String(arm.n),
    percent(arm.accuracy),
    interval(arm.ci95),
    arm.toolUsesPerEpisode.toFixed(2),
    arm.seconds.toFixed(0),
  ]);
  const notes = report.arms.flatMap(notesOf);
  return [
    ...textTable([header, ...rows], 2),
    ...notes,
    ...(report.warnings ?? []),
    ...sectionsText(report.arms),
    ...benchmarkText(report.arms),
  ].join("\n");
}

/** `rl-zoom, step 40: tool use dies out: …` */
export function alarmText({ stage, step, message }: StageAlarm): string {
  return `${stage}, step ${step}: ${message}`;
}

/** What was found, in sentences: the main arm, what it gained, and what it lost under a control. */
export function findings({ main, base, arms, comparisons }: Report, task: string): string[] {
  const own = arms.find((arm) => arm.task === task && arm.name === main);
  if (own === undefined) return [];
  const questions = own.n === 1 ? "the question" : `${own.n} questions`;
  const first = `${own.name} answers ${percent(own.accuracy)} of ${questions} right (95 % interval ${interval(own.ci95)}).`;
  const ofMain = comparisons.filter((one) => one.task === task && one.arm === main);
  const gained = ofMain.find(({ against }) => against === base);
  const controls = ofMain.filter(
    ({ against }) => against !== base && Object.hasOwn(conditionTable, against),
  );
  const points = ({ difference, ci95 }: Comparison) =>
    `${Math.abs(100 * difference).toFixed(1)} points (${signed(ci95[0])} to ${signed(ci95[1])})`;
  const isPlain = ({ ci95: [low, high] }: Comparison) => low > 0 || high < 0;
  return [
    first,
    ...(gained === undefined
      ? []
      : [
          isPlain(gained)
            ? `That is ${points(gained)} ${gained.difference > 0 ? "more" : "fewer"} than ${gained.against} on the same questions.`
            : `From ${gained.against} it cannot be told apart on these questions: ${points(gained)}.`,
        ]),
    ...controls.map((one) => {
      const { text } = conditionTable[one.against as Condition];
      const loses =
        isPlain(one) && one.difference > 0 ? "it loses" : "nothing is lost that can be told:";
      return `Under ${one.against} (${text}) ${loses} ${points(one)}.`;
    }),
  ];
}

/** What each arm is, as far as it is known. */
export function explained(
  { armTexts = {} }: Pick<Report, "armTexts">,
  arms: readonly Pick<Arm, "name">[],
): [name: string, text: string][] {
  return [...new Set(arms.map(({ name }) => name))].flatMap((name): [string, string][] => {
    const own = Object.hasOwn(armTexts, name) ? armTexts[name] : undefined;
    const control = Object.hasOwn(conditionTable, name)
      ? conditionTable[name as Condition].text
      : undefined;
    const text = own ?? control;
    return text === undefined ? [] : [[name, text]];
  });
}

/** The tasks of a report in the order of their first arm. */
export function tasksOf(arms: readonly Arm[]): string[] {
  return [...new Set(arms.map((arm) => arm.task))];
}

function armTable(arms: readonly Arm[]): string[] {
  return [
    "| arm | n | accuracy | 95 % interval | tool uses per episode | seconds |",
    "| --- | ---: | ---: | ---: | ---: | ---: |",
    ...arms.map(
      (arm) =>
        `| ${markdownText(arm.name)} | ${arm.n} | ${percent(arm.accuracy)} | ${interval(arm.ci95)} | ${arm.toolUsesPerEpisode.toFixed(2)} | ${arm.seconds.toFixed(1)} |`,
    ),
  ];
}

function categoryTable(arms: readonly Arm[]): string[] {
  const categories = [...new Set(arms.flatMap((arm) => Object.keys(arm.categories)))].sort();
  if (categories.length < 2) return [];
  const cell = (arm: Arm, category: string) => {
    const entry = arm.categories[category];
    return entry ? `${percent(entry.accuracy)} (${entry.n})` : "";
  };
  return [
    `| arm | ${categories.map(markdownText).join(" | ")} |`,
    `| --- |${categories.map(() => " ---: |").join("")}`,
    ...arms.map(
      (arm) => `| ${markdownText(arm.name)} | ${categories.map((c) => cell(arm, c)).join(" | ")} |`,
    ),
    "",
  ];
}
