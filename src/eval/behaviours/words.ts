/** Behaviours in words: the tables of a terminal and of Markdown, and what a reader has to know of them. */
import { markdownTable, markdownText, textTable } from "../../core/plain-text.ts";
import { behaviourNames, type BehaviourName } from "../../task/behaviours.ts";
import type { BehaviourDifference, BehaviourFigure, GroupFigures } from "./figures.ts";
import { judgedNames } from "./judge.ts";
import type { BehaviourReport } from "./watch.ts";

/** A line a group, a column a behaviour: mean ± half of its interval; by the rules, then by the judge. */
export function behaviourText(report: BehaviourReport): string {
  const { told, untold } = toldDifferences(report.differences);
  return [
    ...textTable(ruleRows(report), 2),
    ...withTable("By the judge", textTable(judgeRows(report), 2), report.judge !== null),
    ...withTable("Differences", textTable(differenceRows(told), 5), told.length > 0),
    "",
    ...notesOf(report),
    ...untoldNote(untold),
  ].join("\n");
}

export function behaviourMarkdown(report: BehaviourReport): string[] {
  const { told, untold } = toldDifferences(report.differences);
  return [
    "## Behaviours",
    "",
    ...markdownTable(ruleRows(report), 2),
    "",
    ...withTable(
      "By the judge:",
      ["", ...markdownTable(judgeRows(report), 2), ""],
      report.judge !== null,
    ),
    ...(told.length > 0 ? [...markdownTable(differenceRows(told), 5), ""] : []),
    ...[...notesOf(report), ...untoldNote(untold)].flatMap((note) => [markdownText(note), ""]),
  ];
}

/** What was counted, of which traces, and how far a model agrees. */
export function notesOf({ over, limit, judge, groups }: BehaviourReport): string[] {
  const which = over === "all" ? "all traces, right or wrong" : "traces with a right answer alone";
  const some = limit === null ? "" : `, at most ${limit} questions of a group`;
  const single = groups.filter(({ questions }) => questions === 1);
  const agreement = groups.flatMap(({ task, group, judge: figures }) => {
    if (figures === undefined) return [];
    const parts = judgedNames.map((name) => {
      const { present, alpha } = figures.agreement[name];
      const share = present === null ? "none to compare" : `${(100 * present).toFixed(0)} %`;
      const told = alpha === null ? "" : `, α ${alpha.toFixed(2)}`;
      const unread = figures.unread[name] === 0 ? "" : `, ${figures.unread[name]} unread`;
      return `${name} ${share}${told}${unread}`;
    });
    return [`${task} ${group}: rules and judge agree on whether it is there: ${parts.join("; ")}.`];
  });
  return [
    `Means over questions of ${which}${some}, with 95 % intervals over questions.`,
    ...(single.length === 0 ? [] : ["Where there is one question alone, there is no interval."]),
    ...keptNote(groups),
    ...(judge === null ? [] : [`The judge is ${judge}.`]),
    ...agreement,
  ];
}

/** Of how many questions traces were kept, where not of all. */
function keptNote(groups: readonly GroupFigures[]): string[] {
  const partly = groups.flatMap(({ task, group, kept, asked }) =>
    asked !== null && asked > kept
      ? [{ name: `${task} ${group}`, part: `${kept} of ${asked}` }]
      : [],
  );
  if (partly.length === 0) return [];
  const parts = new Set(partly.map(({ part }) => part));
  const told =
    parts.size === 1 && partly.length === groups.length
      ? partly[0].part
      : partly.map(({ name, part }) => `${name} ${part}`).join(", ");
  return [`Questions whose traces were kept: ${told}; eval.traces: all keeps those of all.`];
}

/** Differences whose interval leaves out zero, and how many others there are. */
export function toldDifferences(differences: readonly BehaviourDifference[]) {
  const told = differences.filter(({ ci95 }) => ci95 !== null && (ci95[0] > 0 || ci95[1] < 0));
  return { told, untold: differences.length - told.length };
}

export function untoldNote(untold: number): string[] {
  return untold === 0 ? [] : [`${untold} other differences cannot be told from none.`];
}

/** A header, then a line a group. */
export function ruleRows({ groups }: BehaviourReport): string[][] {
  const names = behaviourNames.filter((name) => groups.some(({ rules }) => rules[name]));
  return [
    ["task", "group", "traces", ...names.map((name) => headOf[name])],
    ...groups.map((group) => [
      ...headCells(group),
      ...names.map((name) => figureText(group.rules[name])),
    ]),
  ];
}

export function judgeRows({ groups }: BehaviourReport): string[][] {
  return [
    ["task", "group", "traces", ...judgedNames.map((name) => headOf[name])],
    ...groups.map((group) => [
      ...headCells(group),
      ...judgedNames.map((name) => figureText(group.judge?.figures[name])),
    ]),
  ];
}

export function differenceRows(differences: readonly BehaviourDifference[]): string[][] {
  return [
    ["task", "group", "against", "behaviour", "by", "difference", "95 % interval", "questions"],
    ...differences.map(
      ({ task, group, against, behaviour, by, difference, ci95, paired, questions: [a, b] }) => [
        task,
        group,
        against,
        headOf[behaviour],
        by,
        signed(difference),
        ci95 === null ? "" : `${signed(ci95[0])} to ${signed(ci95[1])}`,
        paired ? `${a} in pairs` : `${a} and ${b}`,
      ],
    ),
  ];
}

/** Names as columns have them. */
export const headOf: Readonly<Record<BehaviourName, string>> = {
  looks: "looks",
  places: "places",
  regions: "regions",
  subgoals: "grounded subgoals",
  verification: "verification",
  backtracking: "backtracking",
  gaveUp: "gave up",
  outside: "outside",
  cropOverlap: "crop overlap",
};

export function figureText(figure: BehaviourFigure | undefined): string {
  if (figure === undefined) return "";
  const { mean, ci95 } = figure;
  return ci95 === null
    ? mean.toFixed(2)
    : `${mean.toFixed(2)} ±${((ci95[1] - ci95[0]) / 2).toFixed(2)}`;
}

function headCells({ task, group, traces }: GroupFigures): string[] {
  return [task, group, String(traces)];
}

function withTable(title: string, lines: readonly string[], isThere: boolean): string[] {
  return isThere ? ["", title, ...lines] : [];
}

function signed(value: number): string {
  return `${value < 0 ? "−" : "+"}${Math.abs(value).toFixed(2)}`;
}
