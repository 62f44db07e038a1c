/** RealWorldQA: photographs from cars and elsewhere; options in the question, or a word or number. */
import { z } from "zod";
import type { Row } from "../../data/rows/row.ts";
import { quantityIn } from "../../task/kinds/number.ts";
import { yesOrNoIn } from "../../task/kinds/yes-no.ts";
import type { ImageSource, TaskRecord } from "../../task/record.ts";
import type { Benchmark, Draft, Layout, Protocol } from "./benchmark.ts";
import { choiceRecord, letterPlace, listedOptions, optionColumns } from "./choice.ts";
import { micro, only } from "./figures.ts";
import { byLetter, choicesOf, factText, readAs, said } from "./judging.ts";
import { cellsOf } from "./load.ts";
import { bare, harnessPixels, inRecipe, ours, publishedQuestion, vigorl } from "./protocols.ts";
import { lmmsLetter } from "./rules/letters.ts";
import { vlmevalkitLetter, vlmevalkitQuestion } from "./rules/vlmevalkit.ts";

const parquet: Layout = {
  name: "Parquet, as published",
  format: "parquet",
  files: () => /(?:^|\/)test-[^/]*\.parquet$/,
  pictures: { image: "one" },
  read: (row, { index }) => {
    const { question, answer } = cellsOf(
      row,
      z.object({ question: z.string(), answer: z.string() }),
    );
    return draftOf(row, `realworldqa-${index}`, row.pictures("image")[0], question, answer);
  },
};

const tsvCells = z.object({ index: z.string(), question: z.string(), answer: z.string() });

const tsv: Layout = {
  name: "VLMEvalKit's TSV",
  format: "tsv",
  files: () => /(?:^|\/)RealWorldQA\.tsv$/,
  pictures: { image: "one" },
  read: (row) => {
    const { index, question, answer } = cellsOf(row, tsvCells);
    const choices = optionColumns(row);
    const gold = letterPlace(answer);
    const id = `realworldqa-${index}`;
    const [image] = row.pictures("image");
    if (choices.length < 2) return draftOf(row, id, image, question, answer);
    const facts = { text: question, letter: answer };
    return {
      record: choiceRecord({
        id,
        place: row.place,
        images: [image],
        question,
        choices,
        gold,
        facts,
      }),
    };
  },
};

function draftOf(row: Row, id: string, image: ImageSource, text: string, answer: string): Draft {
  // The last line tells the form of the answer, which the recipe's prompt does.
  const asked = text.replace(/\n*Please answer[^\n]*\s*$/i, "");
  const { head, choices } = listedOptions(asked);
  const gold = letterPlace(answer);
  const facts = { text, letter: answer.trim() };
  const images = [image];
  if (gold >= 0 && choices.length > gold)
    return {
      record: choiceRecord({ id, place: row.place, images, question: head, choices, gold, facts }),
    };
  const kind =
    yesOrNoIn(answer) !== null ? "yes-no" : quantityIn(answer) !== null ? "number" : "text";
  return {
    record: {
      id,
      images,
      question: asked.trim(),
      kind,
      answer,
      facts: { ...facts, question: asked },
    },
  };
}

const stored = (record: TaskRecord) => factText(record, "text");

/** A gold A to D by the letter that the shared extractor finds, any other by its words. */
const lmms: Protocol["judge"] = (record, reply) => {
  const gold = factText(record, "letter");
  if (/^[A-D]$/i.test(gold))
    return byLetter((text) => lmmsLetter(text, 4))(
      { ...record, facts: { ...record.facts, gold: letterPlace(gold.toUpperCase()) } },
      reply,
    );
  const words = said(reply).toLowerCase().trim().replace(/\.+$/, "");
  return readAs(words, words === gold.toLowerCase());
};

const figures = micro(({ record }) => record.kind);
const paper = "ViGoRL, arXiv 2505.23678";

export const realworldqa: Benchmark = {
  name: "realworldqa",
  title: "RealWorldQA",
  asks: "photographs from cars and elsewhere: options, words and numbers",
  licence: "CC BY-ND 4.0",
  sources: ["hub: xai-org/RealworldQA"],
  hub: { repo: "xai-org/RealworldQA", files: () => /test-.*\.parquet$/ },
  questions: 765,
  metric: "accuracy over all questions",
  splits: ["test"],
  layouts: [parquet, tsv],
  protocols: {
    ours: ours(figures),
    vigorl: vigorl("search", figures, { prompt: inRecipe(stored) }),
    "lmms-eval": {
      about: "a gold A to D by the shared extractor of letters, any other by equal words",
      prompt: bare(stored),
      pixels: harnessPixels["lmms-eval"],
      judge: lmms,
      figures,
    },
    vlmevalkit: {
      about:
        "questions with options alone: a lone letter near the end, or the only option text in a short reply",
      prompt: bare((record) =>
        record.kind === "choice"
          ? vlmevalkitQuestion(factText(record, "question"), choicesOf(record))
          : publishedQuestion()(record),
      ),
      pixels: harnessPixels.vlmevalkit,
      judge: (record, reply) =>
        record.kind === "choice"
          ? byLetter(vlmevalkitLetter)(record, reply)
          : { score: 0, read: null, how: "unread" },
      figures: only(
        ({ record }) => record.kind === "choice",
        micro(() => null, "questions with options"),
      ),
    },
  },
  published: [
    { who: "Qwen2.5-VL-3B", value: 65.4, where: "Qwen2.5-VL's report" },
    { who: "Qwen2.5-VL-7B", value: 68.5, where: "Qwen2.5-VL's report" },
    { who: "Qwen2.5-VL-72B", value: 75.7, where: "Qwen2.5-VL's report" },
    {
      who: "Qwen2.5-VL-3B",
      what: "as the paper ran it",
      value: 55.65,
      plusMinus: 3.52,
      where: paper,
    },
    { who: "ViGoRL-3B trained on SAT", value: 60.65, where: paper },
  ],
  notes: [
    "No scorer of its authors is published.",
    "Its TSV and that of Qwen3-VL's repository differ.",
  ],
};
