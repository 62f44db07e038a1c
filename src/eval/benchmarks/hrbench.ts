/**
 * HR-Bench: details of pictures of four and eight thousand pixels. Every question is asked four times,
 * its options in four orders; the score is the mean of the four accuracies.
 */
import { z } from "zod";
import type { Row } from "../../data/rows/row.ts";
import type { Benchmark, Draft, Figure, Figures, Layout, Scored } from "./benchmark.ts";
import { choiceRecord, letterPlace, optionColumns } from "./choice.ts";
import { byCategory, grouped, meanOf } from "./figures.ts";
import { byLetter, choicesOf, factText, lettered, letterOf, type Letter } from "./judging.ts";
import { cellsOf } from "./load.ts";
import { bare, harnessPixels, ours, vigorl, vlmevalkitChoice } from "./protocols.ts";
import { canInfer, vlmevalkitQuestion } from "./rules/vlmevalkit.ts";

const cells = z.object({
  index: z.union([z.string(), z.int()]),
  question: z.string(),
  answer: z.string(),
  category: z.enum(["single", "cross"]),
  cycle_category: z.union([z.string(), z.int()]).transform(String),
});

function layouts(size: "4k" | "8k"): Layout[] {
  return (["parquet", "tsv"] as const).map((format) => ({
    name: `${format === "tsv" ? "TSV" : "Parquet"}, as published`,
    format,
    files: () => new RegExp(`(?:^|/)hr_?bench_?${size}[^/]*\\.${format}$`, "i"),
    pictures: { image: "one" },
    read: (row) => draftOf(row, size),
  }));
}

function draftOf(row: Row, size: string): Draft {
  const { index, question, answer, category, cycle_category: cycle } = cellsOf(row, cells);
  const { place } = row;
  const images = row.pictures("image");
  const choices = optionColumns(row);
  const gold = letterPlace(answer);
  const id = `hrbench-${size}-${index}`;
  return {
    record: choiceRecord({
      id,
      place,
      images,
      question,
      choices,
      gold,
      category,
      facts: { cycle },
    }),
  };
}

/** Over the four orders, of each category and of all: the mean of their accuracies. */
const figures: Figures = (scored) => {
  const cycles = (name: string, part: readonly Scored[]): Figure => {
    const orders = [...grouped(part, ({ record }) => factText(record, "cycle")).values()];
    const value =
      orders.reduce((sum, order) => sum + meanOf(order), 0) / Math.max(1, orders.length);
    return { name, value, n: part.length, mean: "orders" };
  };
  return [
    cycles("all", scored),
    ...[...grouped(scored, byCategory)].map(([name, part]) => cycles(name, part)),
  ];
};

/** lmms-eval: a lone letter anywhere, or the only option text in a reply of any length. */
function lmmsLetter(text: string, record: Scored["record"]): Letter {
  const choices = choicesOf(record);
  const words = text.replaceAll(/[.()[\],:;!*#{}]/g, " ").split(/\s+/);
  const letters = choices.map((_, i) => letterOf(i)).filter((letter) => words.includes(letter));
  if (letters.length === 1) return letters[0];
  const lower = text.toLowerCase();
  const inside = choices.flatMap((choice, i) =>
    lower.includes(choice.toLowerCase()) ? [letterOf(i)] : [],
  );
  return inside.length === 1 ? inside[0] : { llm: true };
}

const asked = (record: Scored["record"]) =>
  vlmevalkitQuestion(factText(record, "question"), choicesOf(record));

function hrbench(size: "4k" | "8k", published: Benchmark["published"]): Benchmark {
  return {
    name: `hrbench-${size}`,
    title: `HR-Bench ${size.toUpperCase()}`,
    asks: `details of pictures of ${size === "4k" ? "four" : "eight"} thousand pixels, one thing or several`,
    licence: "none is stated",
    sources: ["hub: DreamMr/HR-Bench"],
    hub: { repo: "DreamMr/HR-Bench", files: () => new RegExp(`^hr_bench_${size}\\.parquet$`) },
    questions: 800,
    metric: "mean of the accuracies of four orders of the options",
    splits: ["all"],
    layouts: layouts(size),
    protocols: {
      ours: ours(figures),
      vigorl: vigorl("search", figures),
      official: {
        about:
          "a language model compares reply and right option; without one, VLMEvalKit's matcher",
        prompt: bare(asked),
        judge: byLetter((text, record) => canInfer(text, choicesOf(record)) ?? { llm: true }),
        figures,
        llm: {
          when: "always",
          model: "GPT",
          asks: "question, right option and reply; yes or no back",
        },
      },
      "lmms-eval": {
        about: "a lone letter anywhere, or the only option text; all else goes to a language model",
        prompt: bare(
          (record) =>
            `${factText(record, "question")}\n${lettered(choicesOf(record))}\nAnswer the option letter directly.`,
        ),
        pixels: harnessPixels["lmms-eval"],
        judge: byLetter(lmmsLetter),
        figures,
        llm: {
          when: "unread",
          model: "gpt-4o",
          asks: "question, options and reply; a letter or Z back",
        },
      },
      vlmevalkit: vlmevalkitChoice(figures),
    },
    published,
    notes: [
      '200 questions in four orders each. Not "all four right", which is stricter.',
      "The licence file of the data is empty.",
    ],
  };
}

export const hrbench4k = hrbench("4k", [
  { who: "people", value: 82.0, where: "reports" },
  { who: "GPT-4o", value: 59.0, where: "reports" },
  { who: "Qwen2.5-VL-7B", value: 68.2, where: "Mini-o3's report" },
  { who: "Qwen2.5-VL-7B", value: 69.6, where: "AutoTool's report" },
  { who: "Mini-o3", value: 77.5, where: "its report" },
  { who: "Pixel-Reasoner", value: 74.0, where: "reports" },
]);

export const hrbench8k = hrbench("8k", [
  { who: "people", value: 86.8, where: "reports" },
  { who: "GPT-4o", value: 55.5, where: "reports" },
  { who: "Qwen2.5-VL-7B", value: 62.7, where: "Mini-o3's report" },
  { who: "Qwen2.5-VL-7B", value: 63.0, where: "AutoTool's report" },
  { who: "Mini-o3", value: 73.3, where: "its report" },
  { who: "Pixel-Reasoner", value: 66.9, where: "reports" },
]);
