/** BLINK: fourteen tasks that people solve at a glance, one to four pictures, options A to D. */
import { z } from "zod";
import type { Row } from "../../data/rows/row.ts";
import type { TaskRecord } from "../../task/record.ts";
import type { Benchmark, Draft, Layout } from "./benchmark.ts";
import { choiceRecord, letterPlace, optionColumns } from "./choice.ts";
import { byCategory, joined, macro, macroFigure, micro, only } from "./figures.ts";
import { byLetter, factText, lettersOf, type Letter } from "./judging.ts";
import { cellsOf } from "./load.ts";
import { bare, harnessPixels, inRecipe, ours, vigorl, vlmevalkitChoice } from "./protocols.ts";
import { vlmevalkitQuestion } from "./rules/vlmevalkit.ts";

const cells = z.object({
  idx: z.union([z.string(), z.int()]).transform(String),
  question: z.string(),
  sub_task: z.string(),
  choices: z.array(z.string()),
  answer: z.string(),
  prompt: z.string(),
});

const asPublished: Layout = {
  name: "Parquet, a folder for each task",
  format: "parquet",
  files: (split) => new RegExp(`(?:^|/)(?<part>[A-Z][\\w-]+)/${split}-[^/]*\\.parquet$`),
  pictures: { image_1: "one", image_2: "counted", image_3: "counted", image_4: "counted" },
  read: (row, { part }) => {
    const { idx, question, choices, answer, prompt } = cellsOf(row, cells);
    const columns = ["image_1", "image_2", "image_3", "image_4"];
    return draftOf(row, {
      id: /[A-Za-z]/.test(idx) ? idx : `${part}-${idx}`,
      images: columns.flatMap((column) => row.pictures(column)),
      question,
      choices,
      answer,
      task: part,
      prompt,
    });
  },
};

const tsvCells = z.object({
  index: z.string(),
  question: z.string(),
  answer: z.string(),
  category: z.string(),
});

const tsv: Layout = {
  name: "VLMEvalKit's TSV",
  format: "tsv",
  files: () => /(?:^|\/)BLINK\.tsv$/,
  pictures: { image: "counted" },
  read: (row) => {
    const { index, question, answer, category } = cellsOf(row, tsvCells);
    const images = row.pictures("image");
    const choices = optionColumns(row);
    const prompt = vlmevalkitQuestion(question, choices);
    const id = `blink-${index}`;
    return draftOf(row, { id, images, question, choices, answer, task: category, prompt });
  },
};

function draftOf(
  { place }: Row,
  row: Pick<TaskRecord, "id" | "images" | "question"> & {
    choices: readonly string[];
    answer: string;
    task: string;
    prompt: string;
  },
): Draft {
  const { task, prompt, answer, ...rest } = row;
  const gold = letterPlace(answer);
  return { record: choiceRecord({ ...rest, place, gold, category: task, facts: { prompt } }) };
}

/** The official rule: the letter alone, else a word "(A)" of the last paragraph, else of all. */
function official(text: string, record: TaskRecord): Letter {
  const reply = text.trim();
  const letters = lettersOf(record);
  const alone = letters.find((letter) => reply === letter || reply === `(${letter})`);
  if (alone !== undefined) return alone;
  const last = reply.split("\n\n").at(-1) ?? "";
  for (const part of [last, reply]) {
    const words = part.split(/\s+/);
    const named = letters.find((letter) => words.includes(`(${letter})`));
    if (named !== undefined) return named;
  }
  return { llm: true };
}

/** lmms-eval (commit 75571cf): the letter that the reply begins with, of whatever word. */
function leading(text: string): string | null {
  return /^[(\s]*([A-Z])/i.exec(text.trim())?.[1].toUpperCase() ?? null;
}

/** The three tasks that the paper names. */
const spatialTasks = ["Multi-view_Reasoning", "Relative_Depth", "Spatial_Relation"];
const isSpatial = ({ record }: { record: TaskRecord }) =>
  spatialTasks.includes(record.category ?? "");
const spatial = joined(
  only(
    isSpatial,
    micro(() => null, "three spatial tasks (mean of questions)"),
  ),
  only(isSpatial, (scored) => [
    macroFigure("three spatial tasks (mean of tasks)", scored, byCategory),
  ]),
);
const figures = joined(macro(), spatial);
const paper = "ViGoRL, arXiv 2505.23678";
const prompt = (record: TaskRecord) => factText(record, "prompt");

export const blink: Benchmark = {
  name: "blink",
  title: "BLINK",
  asks: "fourteen tasks of perception: depth, relations, correspondence, counting, style and others",
  licence: "Apache-2.0",
  sources: ["hub: BLINK-Benchmark/BLINK"],
  hub: {
    repo: "BLINK-Benchmark/BLINK",
    files: (split) => new RegExp(`^[\\w-]+/${split}-.*\\.parquet$`),
  },
  questions: 1901,
  metric: "mean of the accuracies of the 14 tasks",
  splits: ["val"],
  layouts: [asPublished, tsv],
  protocols: {
    ours: ours(figures),
    vigorl: vigorl("spatial", figures, { prompt: inRecipe(prompt) }),
    official: {
      about:
        "the letter alone, else a word (A) of the last paragraph or of all; all else goes to a language model",
      prompt: bare(prompt),
      judge: byLetter(official),
      figures,
      llm: {
        when: "unread",
        model: "gpt-3.5-turbo",
        asks: "question, options and reply; a letter or (Z) back",
      },
    },
    "lmms-eval": {
      about: "the first letter of the reply, whatever word it begins",
      prompt: bare(
        (record) =>
          `Note: You only need to respond with {${lettersOf(record).join(", ")}} without any other text.\n${prompt(record)}`,
      ),
      pixels: harnessPixels["lmms-eval"],
      judge: byLetter(leading),
      figures,
    },
    vlmevalkit: vlmevalkitChoice(joined(micro(), spatial)),
  },
  published: [
    { who: "Qwen2.5-VL-3B", value: 44.4, where: paper },
    { who: "ViGoRL-3B", value: 48.5, plusMinus: 2.3, where: paper },
    { who: "Qwen2.5-VL-7B", value: 52.9, where: paper },
    { who: "ViGoRL-7B", value: 54.1, where: paper },
    { who: "Qwen2.5-VL-72B", value: 59.5, where: paper },
    { who: "GPT-4o", value: 60.0, where: "its published predictions" },
    { who: "people", value: 95.7, where: "BLINK's authors" },
  ],
  notes: [
    "The authors' total is the mean of the tasks; VLMEvalKit's is the mean of the questions. Both are printed.",
    "The paper names three spatial tasks (400 questions), but its half-widths and its figure of GPT-4o are those of the whole split.",
    "lmms-eval 0.7.3 reads the letter otherwise than the commit that is reproduced here.",
  ],
};
