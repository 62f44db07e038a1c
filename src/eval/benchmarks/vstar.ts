/**
 * V* Bench: small things in large photographs. Published as pictures with a file of questions whose
 * options are shuffled. Left out: the files of its subsets without questions of this kind, and the boxes
 * beside the pictures, which no scorer reads.
 */
import { z } from "zod";
import { VigorlError } from "../../core/errors.ts";
import type { Row } from "../../data/rows/row.ts";
import type { ImageSource } from "../../task/record.ts";
import type { Benchmark, Draft, Layout } from "./benchmark.ts";
import { micro } from "./figures.ts";
import { choiceRecord, letterPlace, listedOptions, optionColumns } from "./choice.ts";
import { byLetter, choicesOf, goldLetter, lettered, letterOf, readAs, unread } from "./judging.ts";
import { cellsOf } from "./load.ts";
import {
  bare,
  harnessPixels,
  inRecipe,
  ours,
  publishedQuestion,
  vigorl,
  vlmevalkitChoice,
} from "./protocols.ts";

const INSTRUCTION = "Answer with the option's letter from the given choices directly.";

const published = z.object({
  question_id: z.union([z.int(), z.string()]),
  text: z.string(),
  category: z.string(),
  label: z.string().regex(/^[A-D]$/),
});

const asPublished: Layout = {
  name: "test_questions.jsonl with pictures, as published",
  format: "jsonl",
  files: () => /(?:^|\/)test_questions\.jsonl$/,
  read: (row, { picture }) => {
    const { image } = cellsOf(row, z.object({ image: z.string() }));
    return readText(row, picture(image));
  },
};

const copy: Layout = {
  name: "Parquet copy",
  format: "parquet",
  files: () => /(?:^|\/)test-[^/]*\.parquet$/,
  pictures: { image: "one" },
  read: (row) => readText(row, row.pictures("image")[0]),
};

function readText(row: Row, image: ImageSource): Draft {
  const { question_id, text, category, label } = cellsOf(row, published);
  const { head, choices } = listedOptions(text.replace(INSTRUCTION, ""));
  if (choices.length < 2)
    throw new VigorlError("input", `${row.place}: text: lists no options (A), (B), …`);
  return draftOf(row, `vstar-${question_id}`, image, head, choices, label, category, text);
}

const tsvCells = z.object({
  index: z.string(),
  question: z.string(),
  answer: z.string().regex(/^[A-D]$/),
  category: z.string(),
});

const tsv: Layout = {
  name: "VLMEvalKit's TSV",
  format: "tsv",
  files: () => /(?:^|\/)VStar[^/]*\.tsv$/i,
  pictures: { image: "one" },
  read: (row) => {
    const { index, question, answer, category } = cellsOf(row, tsvCells);
    const choices = optionColumns(row);
    const [image] = row.pictures("image");
    return draftOf(row, `vstar-${index}`, image, question, choices, answer, category, question);
  },
};

function draftOf(
  row: Row,
  id: string,
  image: ImageSource,
  question: string,
  choices: readonly string[],
  answer: string,
  category: string,
  text: string,
): Draft {
  const gold = letterPlace(answer);
  const { place } = row;
  const facts = { text };
  return {
    record: choiceRecord({ id, place, images: [image], question, choices, gold, category, facts }),
  };
}

/** lmms-eval: a row of patterns on the reply in capitals, the last of which takes any A to D. */
function lmmsLetter(reply: string): string | null {
  const text = reply.trim().toUpperCase();
  const patterns = [
    /^([A-D])\s*[.)\]]*/,
    /(?:THE\s+)?(?:ANSWER|CHOICE|OPTION)(?:\s+IS)?[\s:]+([A-D])/,
    /\(([A-D])\)/,
    /([A-D])\s*(?:\.|\)|\])/,
    /(?:^|\s)([A-D])(?:\s|$)/,
  ];
  for (const pattern of patterns) {
    const letter = pattern.exec(text)?.[1];
    if (letter !== undefined) return letter;
  }
  const letters = text.match(/[A-D]/g) ?? [];
  return letters.length === 1 ? letters[0] : null;
}

const figures = micro();

export const vstar: Benchmark = {
  name: "vstar",
  title: "V* Bench",
  asks: "colours and places of small things in large photographs",
  licence: "MIT (its repository)",
  sources: ["hub: craigwu/vstar_bench", "hub: lmms-lab-encoder/vstar-bench (copy)"],
  hub: {
    repo: "craigwu/vstar_bench",
    files: () => /^(?:test_questions\.jsonl|(?:direct_attributes|relative_position)\/.+)$/,
  },
  questions: 191,
  metric: "accuracy over all questions",
  splits: ["test"],
  layouts: [asPublished, copy, tsv],
  protocols: {
    ours: ours(figures),
    vigorl: vigorl("search", figures, { prompt: inRecipe(publishedText) }),
    "lmms-eval": {
      about:
        "the first of several patterns on the reply in capitals, down to any single A to D in it",
      prompt: bare(
        ({ facts, choices = [] }) =>
          `${String(facts?.question)}\n${lettered(choices)}\n${INSTRUCTION}`,
      ),
      pixels: harnessPixels["lmms-eval"],
      judge: byLetter(lmmsLetter),
      figures,
    },
    vlmevalkit: vlmevalkitChoice(figures, publishedQuestion()),
    "mini-o3": {
      about:
        "the last <answer> of the last turn, equal to the letter or beginning with (X) or X.; nothing else is read",
      prompt: inRecipe(publishedText),
      pixels: { minPixels: 40_000, maxPixels: 2_000_000 },
      judge: (record, { text }) => {
        const answers = [...text.matchAll(/<answer>([^]*?)<\/answer>/g)];
        const answer = answers.at(-1)?.[1];
        if (answer === undefined) return unread;
        const letter = goldLetter(record);
        const isRight =
          answer === letter || answer.startsWith(`(${letter})`) || answer.startsWith(`${letter}.`);
        return readAs(answer, isRight);
      },
      figures,
    },
    deepeyes: {
      about:
        "the letter, with a full stop or the option's text, or in a box; other letters are wrong, all else goes to a language model",
      prompt: inRecipe(publishedText),
      pixels: { minPixels: 3136, maxPixels: 12_845_056 },
      judge: byLetter(deepEyesLetter),
      figures,
      llm: {
        when: "unread",
        model: "Qwen2.5-72B",
        asks: "question, text of the right option and reply; 1 or 0 back",
      },
    },
  },
  published: [
    { who: "ViGoRL-7B, several turns", value: 86.4, where: paper() },
    { who: "ViGoRL-3B, several turns", value: 81.2, where: paper() },
    { who: "ViGoRL-3B, one turn", value: 79.1, where: paper() },
    { who: "Qwen2.5-VL-7B", value: 78.0, where: paper() },
    { who: "Qwen2.5-VL-3B", value: 74.2, where: paper() },
    { who: "GPT-4o", value: 66.0, where: paper() },
    { who: "Qwen2.5-VL-7B", value: 75.5, where: "Mini-o3's report" },
    { who: "Qwen2.5-VL-7B", value: 71.2, where: "another report" },
    { who: "Mini-o3", value: 88.2, where: "its report" },
    { who: "DeepEyes", value: 90.1, where: "its report" },
    { who: "Pixel-Reasoner", value: 86.3, where: "its report" },
  ],
  notes: [
    "115 questions of attributes and 76 of places; chance is 36.0 %.",
    "Its authors compare the losses of the options, which no reply can be scored by.",
    "Ours takes the shuffled letters of test_questions.jsonl. DeepEyes asks with the right option first, so that a model that always says A is always right there; its rule is applied to the shuffled letters here.",
    "The paper prints one standard error behind ±, not half a 95 % interval.",
  ],
};

function paper(): string {
  return "ViGoRL, arXiv 2505.23678";
}

function publishedText({
  facts,
  question,
}: {
  facts?: Readonly<Record<string, unknown>>;
  question: string;
}) {
  return typeof facts?.text === "string" ? facts.text : question;
}

function deepEyesLetter(text: string, record: Parameters<typeof goldLetter>[0]) {
  const answer = text.trim();
  const boxed = /\\boxed\{\s*([A-D])\s*\}/.exec(answer)?.[1];
  if (boxed !== undefined) return boxed;
  const letter = /^([A-D])\.?$/.exec(answer)?.[1];
  if (letter !== undefined) return letter;
  const named = choicesOf(record).findIndex((choice, i) => answer === `${letterOf(i)}. ${choice}`);
  return named < 0 ? ({ llm: true } as const) : letterOf(named);
}
