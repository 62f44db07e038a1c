/** A study's score in words: a table for a terminal, and the same as Markdown. */
import { markdownTable, markdownText, textTable } from "../../core/plain-text.ts";
import type { Interval } from "../../core/statistics.ts";
import type { GroupScore, PersonFigure, StudyFigures, StudyScore } from "./score.ts";

export function studyText(score: StudyScore): string {
  return [
    ...textTable(figureRows(score.all), 1),
    "",
    ...textTable(alphaRows(score), 1),
    ...groupTables(score).flatMap((rows) => ["", ...textTable(rows, 1)]),
    "",
    ...notesOf(score),
  ].join("\n");
}

export function studyMarkdown(title: string, score: StudyScore): string {
  const tables = [figureRows(score.all), alphaRows(score), ...groupTables(score)];
  return `${[
    `# ${markdownText(title)}`,
    "",
    ...tables.flatMap((rows) => [...markdownTable(rows, 1), ""]),
    ...notesOf(score).flatMap((note) => [markdownText(note), ""]),
  ].join("\n")}`;
}

function notesOf({ persons, ratings, items, itemsTwice, all }: StudyScore): string[] {
  return [
    `${ratings} ratings by ${persons} ${persons === 1 ? "person" : "persons"} of ${items} items, ${itemsTwice} of them rated more than once; ${all.unsure} unsure, which count neither for accuracy nor for helpfulness.`,
    "Each person counts once. Intervals are 95 %, by bootstrap over persons.",
  ];
}

function figureRows(figures: StudyFigures): string[][] {
  const { clarityGained } = figures;
  return [
    ["", "mean", "95 % interval", "persons", "ratings"],
    ["accuracy of points, %", ...figureCells(figures.accuracy, 100)],
    ["helpfulness, 1 to 5", ...figureCells(figures.helpfulness)],
    ["… of points found right", ...figureCells(figures.helpfulnessRight)],
    ["… of points found wrong", ...figureCells(figures.helpfulnessWrong)],
    ["clarity, place marked", ...figureCells(figures.clarityMarked)],
    ["clarity, place hidden", ...figureCells(figures.clarityMasked)],
    [
      "clarity gained",
      ...(clarityGained === null
        ? ["–", "", "", ""]
        : [
            clarityGained.difference.toFixed(2),
            intervalText(clarityGained.ci95, 1),
            String(clarityGained.persons),
            "",
          ]),
    ],
  ];
}

function alphaRows({ agreement }: StudyScore): string[][] {
  const cell = (alpha: number | null) => (alpha === null ? "not defined" : alpha.toFixed(3));
  return [
    ["Krippendorff's α", "level", "α"],
    ["accuracy", "nominal", cell(agreement.accuracyNominal)],
    ["helpfulness", "ordinal", cell(agreement.helpfulnessOrdinal)],
    ["helpfulness", "interval", cell(agreement.helpfulnessInterval)],
    ["clarity", "ordinal", cell(agreement.clarityOrdinal)],
  ];
}

function groupTables({ groups, answers }: StudyScore): string[][][] {
  return [groups, answers].filter((rows) => rows.length > 0).map(groupRows);
}

function groupRows(groups: readonly GroupScore[]): string[][] {
  return [
    ["sentences of", "accuracy, %", "95 % interval", "helpfulness", "95 % interval"],
    ...groups.map(({ group, accuracy, helpfulness }) => [
      group,
      ...figureCells(accuracy, 100).slice(0, 2),
      ...figureCells(helpfulness).slice(0, 2),
    ]),
  ];
}

function figureCells(figure: PersonFigure | null, scale = 1): string[] {
  if (figure === null) return ["–", "", "", ""];
  const { mean, ci95, persons, ratings } = figure;
  const shown = (mean * scale).toFixed(scale === 1 ? 2 : 1);
  return [shown, intervalText(ci95, scale), String(persons), String(ratings)];
}

function intervalText(interval: Interval | null, scale: number): string {
  if (interval === null) return "";
  const [low, high] = interval.map((end) => (end * scale).toFixed(scale === 1 ? 2 : 1));
  return `${low} to ${high}`;
}
