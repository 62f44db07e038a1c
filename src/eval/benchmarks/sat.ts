/**
 * SAT: motion and place in synthetic rooms, one or two frames. The paper's "SAT-2" is the validation
 * split of the second version; the first version has a test split of real photographs, in which every
 * question is asked twice, its options swapped.
 */
import { z } from "zod";
import { VigorlError } from "../../core/errors.ts";
import { stream } from "../../core/random.ts";
import type { Row } from "../../data/rows/row.ts";
import type { TaskRecord } from "../../task/record.ts";
import type { Benchmark, Draft, Layout, Protocol, RowContext } from "./benchmark.ts";
import { choiceRecord } from "./choice.ts";
import { micro } from "./figures.ts";
import { byLetter, choicesOf, factText, letterOf, lettered, readAs, said } from "./judging.ts";
import { cellsOf } from "./load.ts";
import { bare, harnessPixels, inRecipe, ours, vigorl } from "./protocols.ts";

const cells = z.object({
  question: z.string(),
  answers: z.array(z.string()).min(2),
  question_type: z.string(),
  correct_answer: z.string(),
});

/** Answers hold a phrase that belongs to the question; the authors' own loader takes it out. */
const STRAY = /\s*in the first frame/g;

function draftsOf(row: Row, column: string, { index, split }: RowContext, twice: boolean): Draft[] {
  const { question, answers, question_type, correct_answer } = cellsOf(row, cells);
  const options = answers.map((answer) => answer.replaceAll(STRAY, ""));
  const right = options[answers.indexOf(correct_answer)] ?? correct_answer.replaceAll(STRAY, "");
  if (!options.includes(right))
    throw new VigorlError("input", `${row.place}: correct_answer is none of the answers`);
  const images = row.pictures(column);
  const orders = twice
    ? [options, options.toReversed()]
    : [stream(1, "sat", index).shuffle(options)];
  return orders.map((choices, i) => ({
    record: choiceRecord({
      id: `sat-${split}-${index}${twice ? `-${i + 1}` : ""}`,
      place: row.place,
      images,
      question: withFrames(question, question_type, images.length),
      choices,
      gold: choices.indexOf(right),
      answer: "text",
      category: question_type,
      facts: { question, asked: withFrames(question, question_type, images.length) },
    }),
  }));
}

function withFrames(question: string, type: string, count: number): string {
  if (count < 2 || !/ego_movement|obj_movement/.test(type)) return question;
  return `${question}\nThe first image is the beginning of the video, the second one its end.`;
}

function parquet(name: string, files: Layout["files"], column: string, twice = false): Layout {
  return {
    name,
    format: "parquet",
    files,
    pictures: { [column]: "counted" },
    read: (row, context) => draftsOf(row, column, context, twice && context.split === "test"),
  };
}

const byWord: Protocol["judge"] = (record, reply) => {
  const text = said(reply).trim();
  const words = (other: string) => other.toLowerCase().trim();
  return readAs(text, typeof record.answer === "string" && words(text) === words(record.answer));
};

/** lmms-eval: punctuation out, then the first word; it has to be the letter. */
function firstWord(text: string): string {
  return text
    .replaceAll(/[^\p{L}\p{N}_\s]/gu, "")
    .trim()
    .split(" ")[0]
    .toUpperCase();
}

function withOptions(record: TaskRecord): string {
  const options = choicesOf(record).map((choice) => `"${choice}"`);
  return `${factText(record, "asked")} Answer the question using a single word or phrase. Choose between the following options: ${options.join(" or ")}.`;
}

const figures = micro();

const published: Benchmark["protocols"] = {
  ours: ours(figures),
  vigorl: vigorl("spatial", figures, {
    prompt: inRecipe(withOptions),
  }),
  official: {
    about: "the words of the right answer, case aside; its lists of synonyms are left out",
    prompt: bare(withOptions),
    judge: byWord,
    figures,
  },
  "lmms-eval": {
    about: "the first word of the reply, punctuation aside, has to be the letter",
    prompt: bare(
      (record) =>
        `${factText(record, "question")}\n${lettered(choicesOf(record))}\nReply with the letter of the right option alone.`,
    ),
    pixels: harnessPixels["lmms-eval"],
    judge: byLetter((text, record) => {
      const word = firstWord(text);
      return choicesOf(record).some((_, i) => letterOf(i) === word) ? word : null;
    }),
    figures,
  },
};

const notes = [
  "Ours shuffles the options by the row's number, since the place of the right one is biased in the data.",
  "The official rule has lists of synonyms besides; they are not reproduced.",
];
const paper = "ViGoRL, arXiv 2505.23678";

export const sat2: Benchmark = {
  name: "sat2",
  title: "SAT-2",
  asks: "motion and place in synthetic rooms, one or two frames",
  licence: "MIT",
  sources: ["hub: array/SAT-v2"],
  hub: { repo: "array/SAT-v2", files: (split) => new RegExp(`^data/${split}-.*\\.parquet$`) },
  questions: 4001,
  metric: "accuracy over all questions",
  splits: ["val", "test"],
  layouts: [
    parquet(
      "Parquet, as published",
      (split) => new RegExp(`(?:^|/)${split}-[^/]*\\.parquet$`),
      "images",
    ),
  ],
  protocols: published,
  published: [
    { who: "Qwen2.5-VL-3B", value: 46.1, where: paper },
    { who: "ViGoRL-3B", value: 62.9, plusMinus: 1.5, where: paper },
    { who: "Qwen2.5-VL-3B, GRPO without grounding", value: 50.0, where: paper },
    { who: "Qwen2.5-VL-7B", value: 52.6, where: paper },
    { who: "ViGoRL-7B", value: 67.5, where: paper },
    { who: "Qwen2.5-VL-72B", value: 61.5, where: paper },
  ],
  notes: ["The paper's SAT-2 is the validation split with its 4,001 rows.", ...notes],
};

export const sat: Benchmark = {
  ...sat2,
  name: "sat",
  title: "SAT (real photographs)",
  asks: "motion and place in real photographs, one or two frames",
  sources: ["hub: array/SAT", "hub: FlagEval/SAT (copy)"],
  hub: { repo: "array/SAT", files: (split) => new RegExp(`^SAT_${split}\\.parquet$`) },
  questions: 300,
  splits: ["test", "val"],
  layouts: [
    parquet(
      "Parquet, as published",
      (split) => new RegExp(`(?:^|/)SAT_${split}\\.parquet$`),
      "image_bytes",
      true,
    ),
  ],
  published: [],
  notes: [
    "150 rows, each asked twice with its options swapped and counted twice.",
    ...notes.slice(1),
  ],
};
