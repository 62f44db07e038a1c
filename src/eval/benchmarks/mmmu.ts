/** MMMU: college questions of thirty subjects with one to seven pictures; options, or open answers. */
import { z } from "zod";
import { VigorlError } from "../../core/errors.ts";
import type { Row } from "../../data/rows/row.ts";
import { judge } from "../../task/judge.ts";
import { quantityIn } from "../../task/kinds/number.ts";
import type { TaskRecord } from "../../task/record.ts";
import { parseStringsLiteral } from "../../text/python.ts";
import type { Benchmark, Draft, Figures, Layout, Protocol } from "./benchmark.ts";
import { choiceRecord, letterPlace } from "./choice.ts";
import { byCategory, micro, microFigure } from "./figures.ts";
import {
  byLetter,
  choicesOf,
  factText,
  factTexts,
  lettered,
  oursJudge,
  readAs,
  said,
  unread,
  type Letter,
} from "./judging.ts";
import { cellsOf } from "./load.ts";
import { bare, harnessPixels, ours, vigorl } from "./protocols.ts";
import { indexedLetter } from "./rules/letters.ts";
import { openPredictions, normalisedGold } from "./rules/mmmu-open.ts";
import { canInfer } from "./rules/vlmevalkit.ts";

const cells = z.object({
  id: z.string(),
  question: z.string(),
  options: z.string(),
  answer: z.string(),
  question_type: z.enum(["multiple-choice", "open"]),
});

const columns = Array.from({ length: 7 }, (_, i) => `image_${i + 1}`);

const layout: Layout = {
  name: "Parquet, a folder for each subject or merged",
  format: "parquet",
  files: (split) => new RegExp(`(?:^|/)${split}-[^/]*\\.parquet$`),
  pictures: Object.fromEntries(columns.map((name) => [name, "counted"])),
  read: (row) => draftOf(row),
};

function draftOf(row: Row): Draft {
  const { id, question, options, answer, question_type } = cellsOf(row, cells);
  const { place } = row;
  const images = columns.flatMap((column) => row.pictures(column));
  const category = /^[a-z]+_(.+)_\d+$/.exec(id)?.[1];
  if (category === undefined) throw new VigorlError("input", `${place}: id: names no subject`);
  if (question_type === "multiple-choice") {
    const choices = parseStringsLiteral(options);
    if (choices === null) throw new VigorlError("input", `${place}: options: is no Python list`);
    const gold = letterPlace(answer);
    return { record: choiceRecord({ id, place, images, question, choices, gold, category }) };
  }
  const golds = (answer.startsWith("[") ? parseStringsLiteral(answer) : null) ?? [answer];
  const [first] = golds;
  const kind = quantityIn(first) === null ? "text" : "number";
  return {
    record: {
      id,
      images,
      question,
      kind,
      answer: asTruth(first),
      category,
      facts: { question, golds },
    },
  };
}

/** Open numbers are published with two decimals at most, and compared so. */
function asTruth(gold: string): string {
  return quantityIn(gold) === null ? gold : `${gold} ± 0.005`;
}

/** Open questions may have several right answers. */
const anyGold: Protocol["judge"] = (record, reply) => {
  if (record.kind === "choice" || reply.answer === null) return oursJudge(record, reply);
  const { answer } = reply;
  const kindOf = (gold: string) => (quantityIn(gold) === null ? "text" : "number");
  const isRight = factTexts(record, "golds").some(
    (gold) => judge({ kind: kindOf(gold), answer: asTruth(gold) }, answer) === 1,
  );
  return readAs(answer, isRight);
};

/** Open answers by the official rule: a gold text inside a part of the reply, or an equal number. */
const openRule: Protocol["judge"] = (record, reply) => {
  const text = said(reply);
  const golds = factTexts(record, "golds").flatMap(normalisedGold);
  const isRight = openPredictions(text).some((predicted) =>
    typeof predicted === "string"
      ? golds.some((gold) => typeof gold === "string" && predicted.includes(gold))
      : golds.includes(predicted),
  );
  return readAs(text, isRight);
};

function withOpen(letter: (text: string, record: TaskRecord) => Letter, open: Protocol["judge"]) {
  const choice = byLetter(letter);
  const both: Protocol["judge"] = (record, reply) =>
    record.kind === "choice" ? choice(record, reply) : open(record, reply);
  return both;
}

const disciplines: Readonly<Record<string, readonly string[]>> = {
  "Art & Design": ["Art", "Art_Theory", "Design", "Music"],
  Business: ["Accounting", "Economics", "Finance", "Manage", "Marketing"],
  Science: ["Biology", "Chemistry", "Geography", "Math", "Physics"],
  "Health & Medicine": [
    "Basic_Medical_Science",
    "Clinical_Medicine",
    "Diagnostics_and_Laboratory_Medicine",
    "Pharmacy",
    "Public_Health",
  ],
  "Humanities & Social Science": ["History", "Literature", "Sociology", "Psychology"],
  "Tech & Engineering": [
    "Agriculture",
    "Architecture_and_Engineering",
    "Computer_Science",
    "Electronics",
    "Energy_and_Power",
    "Materials",
    "Mechanical_Engineering",
  ],
};

const figures: Figures = (scored) => {
  const [overall, ...subjects] = micro(byCategory)(scored);
  const groups = Object.entries(disciplines).flatMap(([name, members]) => {
    const part = scored.filter(({ record }) => members.includes(record.category ?? ""));
    return part.length === 0 ? [] : [microFigure(name, part)];
  });
  return [overall, ...groups, ...subjects];
};

const question = (record: TaskRecord) => {
  const text = factText(record, "question");
  return record.kind === "choice"
    ? `${text}\n${lettered(choicesOf(record))}\n\nAnswer with the option's letter from the given choices directly.`
    : `${text}\n\nAnswer the question using a single word or phrase.`;
};
const paper = "ViGoRL, arXiv 2505.23678";

export const mmmu: Benchmark = {
  name: "mmmu",
  title: "MMMU",
  asks: "college questions of thirty subjects, options or open",
  licence: "Apache-2.0",
  sources: ["hub: MMMU/MMMU", "hub: lmms-lab/MMMU (merged copy)"],
  hub: {
    repo: "MMMU/MMMU",
    files: (split) => new RegExp(`^[\\w-]+/${split}-.*\\.parquet$`),
  },
  questions: 900,
  metric: "accuracy over all questions",
  splits: ["validation", "dev"],
  layouts: [layout],
  protocols: {
    ours: ours(figures, { judge: anyGold }),
    vigorl: vigorl("search", figures),
    official: {
      about:
        "the last (A), else the last lone A, else in more than five words the last option text; none: a random option. Open: a gold text inside a part of the reply, or a number equal to two decimals",
      prompt: bare(question),
      judge: withOpen(
        (text, { choices = [] }) => indexedLetter(text, choices, "official") ?? { drawn: true },
        openRule,
      ),
      figures,
    },
    "lmms-eval": {
      about:
        "as official, and a letter before a blank or a dot, too; every open answer is wrong there, since only the first letter of what it reads is compared",
      prompt: bare(question),
      pixels: harnessPixels["lmms-eval"],
      judge: withOpen(
        (text, { choices = [] }) => indexedLetter(text, choices, "lmms-eval") ?? { drawn: true },
        (_, reply) => ({ score: 0, read: said(reply), how: "read" }),
      ),
      figures,
    },
    vlmevalkit: {
      about:
        'a lone option letter near the end, or the only option text in a short reply; open answers as a choice between the gold and "Other Answers"',
      prompt: bare(question),
      pixels: harnessPixels.vlmevalkit,
      judge: (record, reply) => {
        const options =
          record.kind === "choice"
            ? choicesOf(record)
            : [factTexts(record, "golds").join(", "), "Other Answers"];
        const found = canInfer(said(reply), options);
        if (found === null || found === "Z") return unread;
        const gold = record.kind === "choice" ? Number(record.facts?.gold) : 0;
        return readAs(found, letterPlace(found) === gold);
      },
      figures,
    },
  },
  published: [
    { who: "Qwen2.5-VL-3B", value: 53.1, where: "Qwen2.5-VL's report" },
    { who: "Qwen2.5-VL-7B", value: 58.6, where: "Qwen2.5-VL's report" },
    { who: "Qwen2.5-VL-72B", value: 70.2, where: "Qwen2.5-VL's report" },
    { who: "Qwen2.5-VL-3B", what: "without thinking", value: 47.44, plusMinus: 3.26, where: paper },
    { who: "ViGoRL-3B trained on SAT", value: 46.44, where: paper },
    { who: "ViGoRL-3B trained on web grounding", value: 47.56, where: paper },
  ],
  notes: [
    "847 questions have options, 53 are open, three of them with several right answers.",
    "Where the official rule draws at random, we count what that gives on average.",
    "Pictures stand before the question; <image 1> in its text names them.",
  ],
};
