/**
 * TreeBench: perception and reasoning over small things, with boxes of what has to be looked at. A reply
 * that cites boxes is measured by how well they meet those.
 */
import { z } from "zod";
import { VigorlError } from "../../core/errors.ts";
import type { Benchmark, Draft, Figures, Layout, PixelBox, Protocol } from "./benchmark.ts";
import { choiceRecord, letterPlace, optionColumns } from "./choice.ts";
import { grouped, micro, microFigure } from "./figures.ts";
import { byLetter, choicesOf, factText, goldLetter, lettered, readAs, unread } from "./judging.ts";
import { cellsOf } from "./load.ts";
import { bare, harnessPixels, inRecipe, ours, vigorl } from "./protocols.ts";

const cells = z.object({
  index: z.string(),
  question: z.string(),
  answer: z.string(),
  category: z.string(),
  target_instances: z.string(),
});

const layout: Layout = {
  name: "TSV, as published",
  format: "tsv",
  files: () => /(?:^|\/)TreeBench\.tsv$/,
  pictures: { image: "one" },
  read: (row): Draft => {
    const { index, question, answer, category, target_instances } = cellsOf(row, cells);
    const { place } = row;
    const images = row.pictures("image");
    const choices = optionColumns(row);
    const gold = letterPlace(answer);
    if (gold < 0) throw new VigorlError("input", `${place}: answer: "${answer}" is no letter`);
    const id = `treebench-${index}`;
    const facts = { question, gold };
    // Questions of OCR have their text and options in the picture.
    const record =
      choices.length >= 2
        ? choiceRecord({ id, place, images, question, choices, gold, category })
        : { id, images, question, kind: "choice" as const, answer: answer.trim(), category, facts };
    const numbers = boxesIn(target_instances);
    if (numbers === null)
      throw new VigorlError("input", `${place}: target_instances: is no list of boxes`);
    if (numbers.length === 0) return { record };
    return {
      record,
      boxes: {
        numbers,
        conventions: ["xyxy pixels"],
        size: null,
        place: (one, boxes) => ({ ...one, facts: { ...one.facts, boxes } }),
      },
    };
  },
};

function boxesIn(text: string): number[][] | null {
  try {
    return z.array(z.array(z.number())).parse(JSON.parse(text));
  } catch {
    return null;
  }
}

/** Mean over the targets of the best overlap with a cited box; none cited is 0. Blanks in a box are not read. */
export function citedOverlap(reply: string, targets: readonly PixelBox[]): number {
  const number = String.raw`(-?\d+(?:\.\d+)?)`;
  const pattern = new RegExp(
    String.raw`<box>\[${number},${number},${number},${number}\]</box>`,
    "g",
  );
  const cited = [...reply.matchAll(pattern)].map((match) => match.slice(1).map(Number));
  if (targets.length === 0) return 0;
  const best = targets.map((target) => Math.max(0, ...cited.map((box) => overlap(box, target))));
  return best.reduce((sum, value) => sum + value, 0) / targets.length;
}

function overlap(a: readonly number[], b: readonly number[]): number {
  const width = Math.max(0, Math.min(a[2], b[2]) - Math.max(a[0], b[0]));
  const height = Math.max(0, Math.min(a[3], b[3]) - Math.max(a[1], b[1]));
  const area = (box: readonly number[]) => (box[2] - box[0]) * (box[3] - box[1]);
  const union = area(a) + area(b) - width * height;
  return union <= 0 ? 0 : (width * height) / union;
}

const boxesSchema = z.array(z.tuple([z.number(), z.number(), z.number(), z.number()]));

const official: Protocol["judge"] = (record, { text }) => {
  const targets = boxesSchema.safeParse(record.facts?.boxes);
  const also: Record<string, number> = targets.success
    ? { mIoU: citedOverlap(text, targets.data) }
    : {};
  const answer = /<answer>([^]*?)<\/answer>/.exec(text)?.[1].trim().toUpperCase();
  if (answer === undefined) return { ...unread, also };
  return { ...readAs(answer, answer === goldLetter(record)), also };
};

const groups: Figures = (scored) => {
  const parts = grouped(scored, ({ record }) => record.category?.split("/")[0] ?? null);
  return [...parts].map(([name, part]) => microFigure(name, part));
};

const figures: Figures = (scored) => {
  const [overall, ...tasks] = micro()(scored);
  const overlaps = scored.flatMap(({ verdict }) => verdict.also?.mIoU ?? []);
  const mean = overlaps.reduce((sum, value) => sum + value, 0) / Math.max(1, overlaps.length);
  return [
    overall,
    ...groups(scored),
    ...tasks,
    ...(overlaps.length === 0
      ? []
      : [{ name: "mIoU of cited boxes", value: mean, n: overlaps.length, mean: "micro" }]),
  ];
};

const listed = (record: Parameters<typeof official>[0]) =>
  record.choices === undefined
    ? factText(record, "question")
    : `${factText(record, "question")}\n${lettered(choicesOf(record))}`;

export const treebench: Benchmark = {
  name: "treebench",
  title: "TreeBench",
  asks: "perception and reasoning over small things, with the boxes that show where to look",
  licence: "Apache-2.0",
  sources: ["hub: HaochenWang/TreeBench"],
  hub: { repo: "HaochenWang/TreeBench", files: () => /^TreeBench\.tsv$/ },
  questions: 405,
  metric: "accuracy over all questions",
  splits: ["train"],
  layouts: [layout],
  protocols: {
    ours: ours(figures),
    vigorl: vigorl("search", figures),
    official: {
      about:
        "<answer> in capitals has to be the letter; the overlap of cited <box>[x1,y1,x2,y2]</box> is measured, too, without blanks in it",
      prompt: inRecipe(listed),
      pixels: { minPixels: 1_003_520, maxPixels: 12_845_056 },
      judge: official,
      figures,
    },
    vlmevalkit: {
      about: "the first A to E of the reply in capitals, whatever word it is in; F is never read",
      prompt: bare(listed),
      pixels: harnessPixels.vlmevalkit,
      judge: byLetter((text) => /[ABCDE]/.exec(text.toUpperCase())?.[0] ?? null),
      figures,
    },
  },
  published: [
    { who: "Qwen2.5-VL-7B", value: 37.0, where: "reports" },
    { who: "DeepEyes", value: 37.5, where: "reports" },
    { who: "Pixel-Reasoner", value: 39.0, where: "reports" },
    { who: "TreeVGR-7B", value: 50.4, where: "its report" },
    { who: "o3", value: 54.9, where: "reports" },
  ],
  notes: ["Its only split is called train; nothing of it is for training."],
};
