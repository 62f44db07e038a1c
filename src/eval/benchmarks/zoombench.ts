/** ZoomBench: the same question over a whole picture and over the part that matters; options or open. */
import { z } from "zod";
import { quantityIn } from "../../task/kinds/number.ts";
import type { Benchmark, Layout, Protocol } from "./benchmark.ts";
import { choiceRecord, letterPlace, listedOptions } from "./choice.ts";
import { sameValue } from "../../task/kinds/maths.ts";
import { micro } from "./figures.ts";
import { goldLetter, goldText, readAs } from "./judging.ts";
import { cellsOf } from "./load.ts";
import { inRecipe, ours, publishedQuestion, vigorl } from "./protocols.ts";

const layout: Layout = {
  name: "Parquet of the hub",
  format: "parquet",
  files: () => /\.parquet$/,
  pictures: { image: "one", crop_image: "one" },
  read: (row, { split, index }) => {
    const { prompt, answer } = cellsOf(row, z.object({ prompt: z.string(), answer: z.string() }));
    const { place } = row;
    const images = row.pictures(split === "crop" ? "crop_image" : "image");
    const asked = prompt.replaceAll("<image>", "").trim();
    const { head, choices } = listedOptions(asked);
    const gold = letterPlace(answer);
    const id = `zoombench-${index}`;
    const facts = { question: asked };
    if (gold >= 0 && choices.length > gold)
      return {
        record: choiceRecord({
          id,
          place,
          images,
          question: head,
          choices,
          gold,
          category: "options",
          facts,
        }),
      };
    const kind = quantityIn(answer) === null ? "text" : "number";
    return { record: { id, images, question: asked, kind, answer, category: "open", facts } };
  },
};

/** The tag, or what follows "Answer:", or the last three lines; a value, else the first letter A to D. */
const official: Protocol["judge"] = (record, { text }) => {
  const tagged = [...text.matchAll(/<answer>([^]*?)<\/answer>/g)].at(-1)?.[1];
  const lines = text.trim().split("\n").slice(-3).join("\n");
  const found = (tagged ?? /Answer:\s*([^]*)$/.exec(text)?.[1] ?? lines).trim();
  if (record.kind !== "choice") {
    if (found !== "" && sameValue(found, goldText(record))) return readAs(found, true);
    return { score: 0, read: null, how: "llm" };
  }
  const letter = /[A-D]/.exec(found.toUpperCase())?.[0];
  return letter === undefined
    ? { score: 0, read: null, how: "llm" }
    : readAs(letter, letter === goldLetter(record));
};

const figures = micro();

export const zoombench: Benchmark = {
  name: "zoombench",
  title: "ZoomBench",
  asks: "details of pictures, whole and cut out; options and open",
  licence: "Apache-2.0",
  sources: ["hub: inclusionAI/ZoomBench"],
  hub: { repo: "inclusionAI/ZoomBench", files: () => /\.parquet$/ },
  questions: 845,
  metric: "accuracy over all questions",
  splits: ["full", "crop"],
  layouts: [layout],
  protocols: {
    ours: ours(figures),
    vigorl: vigorl("search", figures),
    official: {
      about:
        "the tag, what follows Answer:, or the last lines; an equal value, or the first letter of it, in whatever word; else a language model",
      prompt: inRecipe(publishedQuestion()),
      pixels: { minPixels: 65_536, maxPixels: 16_777_216 },
      judge: official,
      figures,
      llm: {
        when: "unread",
        model: "Qwen3-30B-A3B",
        asks: "question, right answer and reply; yes or no back",
      },
    },
  },
  published: [{ who: "Qwen2.5-VL-7B", value: 42.5, where: "its card" }],
  notes: [
    "The splits full and crop ask the same questions over both views; their difference is what zooming is worth.",
    "Its six dimensions stand in no column that the published code reads.",
  ],
};
