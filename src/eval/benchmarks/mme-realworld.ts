/** MME-RealWorld: large pictures of five fields of practice, five options, of which E says "not there". */
import { z } from "zod";
import { VigorlError } from "../../core/errors.ts";
import type { Row } from "../../data/rows/row.ts";
import type { ImageSource } from "../../task/record.ts";
import type { Benchmark, Draft, Figures, Layout } from "./benchmark.ts";
import { choiceRecord, letterPlace } from "./choice.ts";
import { groupFigures, macroFigure, microFigure, type GroupOf } from "./figures.ts";
import { byLetter, choicesOf, factText, lettered } from "./judging.ts";
import { cellsOf } from "./load.ts";
import { bare, harnessPixels, ours, vigorl } from "./protocols.ts";

const jsonCells = z.object({
  Question_id: z.string(),
  Image: z.string(),
  Text: z.string(),
  "Answer choices": z.array(z.string()),
  "Ground truth": z.string(),
  Task: z.string(),
  Subtask: z.string(),
  Category: z.string(),
});

const json: Layout = {
  name: "JSON with pictures, as published",
  format: "json",
  files: (split) =>
    split === "en"
      ? /(?:^|\/)MME_RealWorld\.json$/i
      : new RegExp(`(?:^|/)MME_RealWorld_${split}\\.json$`, "i"),
  read: (row, { picture }) => {
    const cells = cellsOf(row, jsonCells);
    return draftOf(row, {
      id: cells.Question_id,
      image: picture(cells.Image),
      question: cells.Text,
      options: cells["Answer choices"],
      answer: cells["Ground truth"],
      task: cells.Task,
      subtask: cells.Subtask,
      category: cells.Category,
    });
  },
};

const copyCells = z.object({
  index: z.union([z.string(), z.int()]).transform(String),
  question: z.string(),
  "multi-choice options": z.array(z.string()),
  answer: z.string(),
  category: z.string(),
  "l2-category": z.string(),
});

const copy: Layout = {
  name: "Parquet copy with base64",
  format: "parquet",
  files: () => /(?:^|\/)train-[^/]*\.parquet$/,
  pictures: { bytes: "one" },
  read: (row) => {
    const cells = cellsOf(row, copyCells);
    const [task, subtask = ""] = cells.category.split("/");
    return draftOf(row, {
      id: cells.index,
      image: row.pictures("bytes")[0],
      question: cells.question,
      options: cells["multi-choice options"],
      answer: cells.answer,
      task,
      subtask,
      category: cells["l2-category"],
    });
  },
};

interface Line {
  readonly id: string;
  readonly image: ImageSource;
  readonly question: string;
  readonly options: readonly string[];
  readonly answer: string;
  readonly task: string;
  readonly subtask: string;
  readonly category: string;
}

function draftOf({ place }: Row, line: Line): Draft {
  const choices = line.options.map((option, i) => {
    const match = /^\s*[（(]([A-E])[)）]\s*([^]*)$/.exec(option);
    if (match === null || letterPlace(match[1]) !== i)
      throw new VigorlError("input", `${place}: option ${i + 1} does not begin with its letter`);
    return match[2].trim();
  });
  const { id, image, question, task, subtask, category } = line;
  const gold = letterPlace(line.answer);
  const facts = { task, subtask, class: category };
  return {
    record: choiceRecord({
      id,
      place,
      images: [image],
      question,
      choices,
      gold,
      category: subtask,
      facts,
    }),
  };
}

/** Phrases that the official rule removes; two pairs are glued together there by missing commas. */
const PREFIXES = [
  "The best answer is",
  "The correct answer is",
  "The answer is",
  "The answer",
  "The best option is",
  "The correct option is",
  "Best answer:",
  "Best option:",
];

/** The first A to E; without one the option mark that holds the reply, so that an empty one is A. */
function official(reply: string): string | null {
  let text = reply.trim();
  for (const prefix of PREFIXES) text = text.replaceAll(prefix, "");
  const letter = /[ABCDE]/.exec(text)?.[0];
  if (letter !== undefined) return letter;
  if (text.split(/\s+/).filter((word) => word !== "").length > 10) return null;
  const marks = ["(a)", "(b)", "(c)", "(d)", "(e)"];
  return (
    marks
      .find((mark) => mark.includes(text.toLowerCase()))
      ?.charAt(1)
      .toUpperCase() ?? null
  );
}

const byTask: GroupOf = ({ record }) => factText(record, "task");
const bySubtask: GroupOf = ({ record }) =>
  `${factText(record, "task")} · ${factText(record, "subtask")}`;
const byClass: GroupOf = ({ record }) =>
  `${factText(record, "task")} · ${factText(record, "subtask")} · ${factText(record, "class")}`;

const figures: Figures = (scored) => {
  const saidE = scored.filter(({ verdict }) => /^\(?E\)?\b/.test(verdict.read ?? ""));
  return [
    microFigure("overall", scored),
    macroFigure("Avg-C (mean of classes)", scored, byClass),
    ...groupFigures(scored, byTask),
    ...groupFigures(scored, bySubtask),
    {
      name: "replies E",
      value: saidE.length / Math.max(1, scored.length),
      n: scored.length,
      mean: "share",
    },
  ];
};

const question = (record: Parameters<typeof choicesOf>[0] & { facts?: object }) =>
  `${String((record.facts as { question?: string } | undefined)?.question)} The choices are listed below:\n${lettered(choicesOf(record), (letter) => `(${letter}) `)}\nSelect the best answer to the question by the image. Respond with only the letter (A, B, C, D, or E) of the correct option.\nThe best answer is:`;

export const mmeRealworld: Benchmark = {
  name: "mme-realworld",
  title: "MME-RealWorld",
  asks: "large pictures of five fields of practice: monitoring, driving, text, diagrams, remote sensing",
  licence: "for academic use",
  sources: [
    "hub: yifanzhang114/MME-RealWorld",
    "hub: yifanzhang114/MME-RealWorld-Base64, -Lite",
    "hub: lmms-lab copies",
  ],
  hub: {
    repo: "yifanzhang114/MME-RealWorld",
    files: () => /^MME_RealWorld.*\.json$|\.(?:zip|tar|tar\.gz|part.*)$/,
  },
  questions: 29_429,
  metric: "accuracy over all questions",
  splits: ["en", "cn", "lite"],
  layouts: [json, copy],
  protocols: {
    ours: ours(figures),
    vigorl: vigorl("search", figures),
    official: {
      about:
        "known phrases out, then the first A to E in whatever word; without one the option mark that holds the reply, so that an empty reply is A",
      prompt: bare(question),
      judge: byLetter(official),
      figures,
    },
    "lmms-eval": {
      about: "as official",
      prompt: bare(question),
      pixels: harnessPixels["lmms-eval"],
      judge: byLetter(official),
      figures,
    },
  },
  published: [
    { who: "GPT-4o", value: 45.2, where: "Mini-o3's report" },
    { who: "Qwen2.5-VL-7B", value: 57.3, where: "Mini-o3's report" },
    { who: "DeepEyes", value: 64.0, where: "Mini-o3's report" },
    { who: "Pixel-Reasoner", value: 64.4, where: "Mini-o3's report" },
    { who: "Mini-o3", value: 65.5, where: "Mini-o3's report" },
  ],
  notes: [
    "13,366 pictures, 43 classes. The Chinese split has 5,917 questions, Lite 1,919.",
    "Pictures come as archives: unpack them beside the JSON.",
  ],
};
