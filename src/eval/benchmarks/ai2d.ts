/** AI2D: diagrams of school books, four options. Copies differ in whether labels are masked. */
import { z } from "zod";
import type { Benchmark, Layout } from "./benchmark.ts";
import { choiceRecord, letterPlace, optionColumns } from "./choice.ts";
import { micro } from "./figures.ts";
import { choicesOf, factText, goldLetter, lettered, readAs, said } from "./judging.ts";
import { cellsOf } from "./load.ts";
import { bare, harnessPixels, ours, vigorl, vlmevalkitChoice } from "./protocols.ts";
import { withoutAsciiPunctuation } from "./rules/words.ts";

const parquet: Layout = {
  name: "Parquet of the hub",
  format: "parquet",
  files: () => /(?:^|\/)test-[^/]*\.parquet$/,
  pictures: { image: "one" },
  read: (row, { index }) => {
    const line = z.object({
      question: z.string(),
      options: z.array(z.string()),
      answer: z.string().regex(/^\d$/),
    });
    const { question, options: choices, answer } = cellsOf(row, line);
    const { place } = row;
    const images = row.pictures("image");
    const id = `ai2d-${index}`;
    return { record: choiceRecord({ id, place, images, question, choices, gold: Number(answer) }) };
  },
};

const tsv: Layout = {
  name: "VLMEvalKit's TSV",
  format: "tsv",
  files: () => /(?:^|\/)AI2D_TEST(?:_NO_MASK)?\.tsv$/,
  pictures: { image: "one" },
  read: (row) => {
    const line = z.object({ index: z.string(), question: z.string(), answer: z.string() });
    const { index, question, answer } = cellsOf(row, line);
    const { place } = row;
    const images = row.pictures("image");
    const choices = optionColumns(row);
    const gold = letterPlace(answer);
    return {
      record: choiceRecord({ id: `ai2d-${index}`, place, images, question, choices, gold }),
    };
  },
};

const figures = micro();

export const ai2d: Benchmark = {
  name: "ai2d",
  title: "AI2D",
  asks: "diagrams of school books",
  licence: "see its source",
  sources: [
    "hub: lmms-lab/ai2d",
    "hub: Efficient-Large-Model/ai2d-no-mask",
    "VLMEvalKit: AI2D_TEST, AI2D_TEST_NO_MASK",
  ],
  hub: { repo: "lmms-lab/ai2d", files: () => /^data\/test-.*\.parquet$/ },
  questions: null,
  metric: "accuracy over all questions",
  splits: ["test"],
  layouts: [parquet, tsv],
  protocols: {
    ours: ours(figures),
    vigorl: vigorl("spatial", figures),
    "lmms-eval": {
      about:
        "the letter before a full stop at the beginning, else the whole reply; equal, case and punctuation aside",
      prompt: bare(
        (record) =>
          `${factText(record, "question")}\n${lettered(choicesOf(record))}\nAnswer with the option's letter from the given choices directly.`,
      ),
      pixels: harnessPixels["lmms-eval"],
      judge: (record, reply) => {
        const text = said(reply);
        const letter = /^\s*([A-Z])\./.exec(text)?.[1] ?? text;
        const plain = (words: string) => withoutAsciiPunctuation(words.toLowerCase());
        return readAs(letter, plain(letter) === plain(goldLetter(record)));
      },
      figures,
    },
    vlmevalkit: vlmevalkitChoice(figures),
  },
  published: [
    { who: "Qwen2.5-VL-3B", what: "masked", value: 81.6, where: "Qwen2.5-VL's report" },
    { who: "Qwen2.5-VL-7B", what: "masked", value: 83.9, where: "Qwen2.5-VL's report" },
    { who: "Qwen2.5-VL-72B", what: "masked", value: 88.7, where: "Qwen2.5-VL's report" },
  ],
  notes: [
    "Say whether the labels of the diagrams are masked: the file that was read is in the manifest.",
  ],
};
