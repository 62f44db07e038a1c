/** MATH-Vision: problems of competitions with a picture; options or open answers. */
import { z } from "zod";
import type { Row } from "../../data/rows/row.ts";
import type { ImageSource } from "../../task/record.ts";
import type { Benchmark, Draft, Layout, Protocol } from "./benchmark.ts";
import { choiceRecord, letterPlace } from "./choice.ts";
import { joined, micro, microFigure } from "./figures.ts";
import { choicesOf, factText, goldLetter, lettered, readAs, said, unread } from "./judging.ts";
import { cellsOf } from "./load.ts";
import { bare, harnessPixels, ours, vigorl } from "./protocols.ts";
import { mathVisionAnswer, mathVisionEqual } from "./rules/math-vision.ts";
import { canInfer } from "./rules/vlmevalkit.ts";

const cells = z.object({
  id: z.union([z.string(), z.int()]).transform(String),
  question: z.string(),
  options: z.array(z.string()),
  answer: z.string(),
  level: z.int(),
  subject: z.string(),
});

const parquet: Layout = {
  name: "Parquet, as published",
  format: "parquet",
  files: (split) => new RegExp(`(?:^|/)${split}-[^/]*\\.parquet$`),
  pictures: { decoded_image: "one" },
  read: (row) => draftOf(row, row.pictures("decoded_image")[0]),
};

const lines: Layout = {
  name: "JSON lines with images/",
  format: "jsonl",
  files: (split) => new RegExp(`(?:^|/)${split}\\.jsonl$`),
  read: (row, { picture }) =>
    draftOf(row, picture(cellsOf(row, z.object({ image: z.string() })).image)),
};

function draftOf(row: Row, image: ImageSource): Draft {
  const { id, question, options: choices, answer, level, subject } = cellsOf(row, cells);
  const { place } = row;
  const images = [image];
  const facts = { question, answer, level };
  // One file holds all pictures of a problem, in the order of <image1>, <image2>, …
  if (choices.length > 0) {
    const gold = letterPlace(answer);
    const record = choiceRecord({
      id,
      place,
      images,
      question,
      choices,
      gold,
      category: subject,
      facts,
    });
    return { record };
  }
  return { record: { id, images, question, kind: "maths", answer, category: subject, facts } };
}

const official: Protocol["judge"] = (record, reply) => {
  const found = mathVisionAnswer(said(reply));
  if (found === "") return unread;
  const golds = [factText(record, "answer")];
  if (record.kind === "choice") golds.push(choicesOf(record)[Number(record.facts?.gold)]);
  return readAs(
    found,
    golds.some((gold) => mathVisionEqual(gold, found)),
  );
};

const levels = micro(({ record }) => `level ${String(record.facts?.level)}`);
const figures = joined(micro(), (scored) => levels(scored).slice(1));
const question = (record: Parameters<typeof official>[0]) => {
  const options = record.kind === "choice" ? `\n${lettered(choicesOf(record))}` : "";
  return `Please solve the problem and put your answer in one "\\boxed{}". If it is a multiple choice question, only one letter is allowed in the "\\boxed{}".\n${factText(record, "question")}${options}`;
};

export const mathvision: Benchmark = {
  name: "mathvision",
  title: "MATH-Vision",
  asks: "problems of mathematical competitions with a picture",
  licence: "MIT",
  sources: ["hub: MathLLMs/MathVision", "repository: mathllm/MATH-V"],
  hub: {
    repo: "MathLLMs/MathVision",
    files: (split) => new RegExp(`^data/${split}-.*\\.parquet$`),
  },
  questions: 3040,
  metric: "accuracy over all questions",
  splits: ["test", "testmini"],
  layouts: [parquet, lines],
  protocols: {
    ours: ours(figures),
    vigorl: vigorl("search", figures),
    official: {
      about:
        'the box, else what follows "the answer is"; equal to the letter or to the option\'s text, or in value to two decimals',
      prompt: bare(question),
      judge: official,
      figures,
    },
    "lmms-eval": {
      about: "as official",
      prompt: bare(question),
      pixels: harnessPixels["lmms-eval"],
      judge: official,
      figures: (scored) => [microFigure("overall", scored)],
    },
    vlmevalkit: {
      about: "a language model extracts the answer first; without one its matcher reads letters",
      prompt: bare(question),
      pixels: harnessPixels.vlmevalkit,
      judge: (record, reply) => {
        const found = record.kind === "choice" ? canInfer(said(reply), choicesOf(record)) : null;
        if (found === null) return { score: 0, read: null, how: "llm" };
        return found === "Z" ? unread : readAs(found, found === goldLetter(record));
      },
      figures,
      llm: {
        when: "always",
        model: "the judge of its configuration",
        asks: "question and reply with examples; the extracted answer back",
      },
    },
  },
  published: [
    { who: "Qwen2.5-VL-3B", value: 21.2, where: "Qwen2.5-VL's report" },
    { who: "Qwen2.5-VL-7B", value: 25.1, where: "Qwen2.5-VL's report" },
    { who: "Qwen2.5-VL-72B", value: 38.1, where: "Qwen2.5-VL's report" },
    { who: "DeepEyes", value: 26.6, where: "reports" },
    { who: "GPT-4o", value: 30.4, where: "reports" },
    { who: "MiMo-VL-7B-RL", value: 60.4, where: "reports" },
  ],
  notes: [
    "1,532 questions have options, 1,508 are open. All pictures of a problem are one file.",
    "Values are worked out by a reader of our own where the published rule asks a computer-algebra system.",
  ],
};
