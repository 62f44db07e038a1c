/** VisualProbe: small things in large photographs that take a search, answered in a few words. */
import { z } from "zod";
import { quantityIn } from "../../task/kinds/number.ts";
import type { Benchmark, Layout, Protocol } from "./benchmark.ts";
import { macro } from "./figures.ts";
import { goldText, readAs, unread } from "./judging.ts";
import { cellsOf } from "./load.ts";
import { inRecipe, ours, vigorl } from "./protocols.ts";

const cells = z.object({
  images: z.array(z.string()).length(1),
  doc_id: z.string(),
  problem: z.string(),
  solution: z.string(),
  data_source: z.string(),
});

const layout: Layout = {
  name: "val.json with data/, a folder for each difficulty",
  format: "json",
  files: () => /(?:^|\/)val\.json$/,
  read: (row, { picture }) => {
    const { images, doc_id: id, problem, solution, data_source } = cellsOf(row, cells);
    const question = problem.replaceAll("<image>", "").trim();
    const answer = solution.trim().replace(/\.$/, "");
    const kind = quantityIn(answer) === null ? "text" : "number";
    const category = /(easy|medium|hard)/i.exec(data_source)?.[1].toLowerCase() ?? data_source;
    return { record: { id, images: images.map(picture), question, kind, answer, category } };
  },
};

/** The last <answer> of the last turn, which has to be there; equal without articles and punctuation. */
const official: Protocol["judge"] = (record, { text }) => {
  const answer = [...text.matchAll(/<answer>([^]*?)<\/answer>/g)].at(-1)?.[1];
  if (answer === undefined) return unread;
  return readAs(answer.trim(), plain(answer) !== "" && plain(answer) === plain(goldText(record)));
};

function plain(text: string): string {
  const words = text
    .toLowerCase()
    .replaceAll(/[^\p{L}\p{N}\s.-]/gu, "")
    .replaceAll(/\b(?:a|an|the)\b/g, "")
    .replaceAll(/\s+/g, " ")
    .trim()
    .replace(/\.$/, "");
  return quantityIn(words)?.value ?? words;
}

const figures = macro();

export const visualprobe: Benchmark = {
  name: "visualprobe",
  title: "VisualProbe",
  asks: "small things in large photographs, in a few words",
  licence: "CC BY-NC 4.0",
  sources: [
    "hub: Mini-o3/VisualProbe_Hard (106)",
    "hub: Mini-o3/VisualProbe_Medium",
    "hub: Mini-o3/VisualProbe_Easy",
  ],
  hub: { repo: "Mini-o3/VisualProbe_Hard", files: () => /^(?:val\.json|data\/.+)$/ },
  questions: null,
  metric: "accuracy of each difficulty",
  splits: ["val"],
  layouts: [layout],
  protocols: {
    ours: ours(figures),
    vigorl: vigorl("search", figures),
    official: {
      about:
        "the last <answer> of the last turn, which a language model compares; without one, equal words, a lower bound",
      prompt: inRecipe(),
      pixels: { minPixels: 40_000, maxPixels: 2_000_000 },
      judge: official,
      figures,
      llm: {
        when: "always",
        model: "gpt-4o-2024-11-20",
        asks: "question, right answer and reply; Score: 0 or 1 back",
      },
    },
  },
  published: [
    { who: "GPT-4o", what: "hard", value: 11.2, where: "Mini-o3's report" },
    { who: "Qwen2.5-VL-7B", what: "hard", value: 23.9, where: "Mini-o3's report" },
    { who: "Qwen2.5-VL-7B", what: "medium", value: 26.0, where: "Mini-o3's report" },
    { who: "Qwen2.5-VL-7B", what: "easy", value: 39.1, where: "Mini-o3's report" },
    { who: "Mini-o3", what: "hard", value: 48.0, where: "Mini-o3's report" },
    { who: "Mini-o3", what: "medium", value: 50.4, where: "Mini-o3's report" },
    { who: "Mini-o3", what: "easy", value: 67.0, where: "Mini-o3's report" },
  ],
  notes: [
    "In print are means over 32 samples with up to 12 rounds of crops.",
    "`data get` fetches the hard ones; the other two are data sets of their own. Put each into a folder of its own under one.",
  ],
};
