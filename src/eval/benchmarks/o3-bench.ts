/** O3-Bench: charts and maps in which several places have to be put together; six options. */
import { z } from "zod";
import { VigorlError } from "../../core/errors.ts";
import type { Benchmark, Layout } from "./benchmark.ts";
import { choiceRecord, letterPlace, listedOptions } from "./choice.ts";
import { micro } from "./figures.ts";
import { byLetter } from "./judging.ts";
import { cellsOf } from "./load.ts";
import { inRecipe, ours, vigorl } from "./protocols.ts";

const cells = z.object({
  file_name: z.string(),
  subset: z.string(),
  question: z.string(),
  options: z.string(),
  answer: z.string(),
});

const layout: Layout = {
  name: "metadata.jsonl with images/, in a folder named by the split",
  format: "jsonl",
  files: () => /(?:^|\/)metadata\.jsonl$/,
  read: (row, { picture, index }) => {
    const { file_name, subset, question, options, answer } = cellsOf(row, cells);
    const { place } = row;
    const { choices } = listedOptions(options);
    if (choices.length < 2) throw new VigorlError("input", `${place}: options: lists none`);
    const images = [picture(file_name)];
    const gold = letterPlace(answer);
    const id = `o3-bench-${index}`;
    return {
      record: choiceRecord({ id, place, images, question, choices, gold, category: subset }),
    };
  },
};

/** The last <answer> or box: a letter at its beginning; a language model reads what is neither. */
function tagLetter(text: string) {
  const tags = [...text.matchAll(/<answer>([^]*?)<\/answer>|\\boxed\{([^{}]*)\}/g)];
  const inner = tags.at(-1);
  const words = (inner?.[1] ?? inner?.[2] ?? text).trim();
  return /^\(?([A-F])\)?(?![A-Za-z])/.exec(words)?.[1] ?? ({ llm: true } as const);
}

const figures = micro();

export const o3Bench: Benchmark = {
  name: "o3-bench",
  title: "O3-Bench",
  asks: "charts and maps in which several places have to be put together",
  licence: "see its source",
  sources: ["hub: m-Just/O3-Bench"],
  hub: { repo: "m-Just/O3-Bench", files: () => /^test\/.+$/ },
  questions: null,
  metric: "accuracy over all questions",
  splits: ["test"],
  layouts: [layout],
  protocols: {
    ours: ours(figures),
    vigorl: vigorl("search", figures),
    official: {
      about:
        "the letter that the last <answer> or box begins with; all else goes to a language model",
      prompt: inRecipe(),
      pixels: { maxPixels: 12_250_000 },
      judge: byLetter(tagLetter),
      figures,
      llm: { when: "unread", model: "gpt-5-nano", asks: "options and reply; a letter back" },
    },
  },
  published: [
    { who: "o3", value: 40.8, where: "arXiv 2512.18745" },
    { who: "GPT-5-mini", value: 39.0, where: "arXiv 2512.18745" },
    { who: "GPT-5-mini with InSight-o3", value: 61.5, where: "arXiv 2512.18745" },
    { who: "Gemini-2.5-Flash", value: 60.4, where: "arXiv 2512.18745" },
  ],
  notes: ["In print are means of three trials with 16 thousand tokens each."],
};
