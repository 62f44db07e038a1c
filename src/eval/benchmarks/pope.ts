/** POPE: is a thing in the picture, yes or no; things that are not there are random, popular or adversarial. */
import { z } from "zod";
import { yesOrNoIn } from "../../task/kinds/yes-no.ts";
import type { ImageSource } from "../../task/record.ts";
import type { Benchmark, Draft, Figure, Figures, Layout, Protocol, Scored } from "./benchmark.ts";
import { byCategory, grouped, macroFigure, meanOf } from "./figures.ts";
import { readAs, said, unread } from "./judging.ts";
import { cellsOf } from "./load.ts";
import { bare, harnessPixels, ours, vigorl } from "./protocols.ts";
import { yesOrNo } from "./rules/vlmevalkit.ts";

const word = z.string().transform((text, context) => {
  const said = yesOrNoIn(text);
  if (said === null) context.addIssue({ code: "custom", message: `"${text}" is not yes or no` });
  return said ?? "no";
});

const lines: Layout = {
  name: "JSON lines with COCO's pictures, as published",
  format: "jsonl",
  files: () => /(?:^|\/)coco_pope_(?<part>random|popular|adversarial)\.json$/,
  read: (row, { part, picture }) => {
    const line = z.object({
      question_id: z.int(),
      image: z.string(),
      text: z.string(),
      label: word,
    });
    const { question_id, image, text, label } = cellsOf(row, line);
    return draftOf(`${part}-${question_id}`, picture(image), text, label, part);
  },
};

const parquet: Layout = {
  name: "Parquet of the hub, one split or three",
  format: "parquet",
  files: () => /(?:^|\/)(?:test|adversarial|popular|random)-[^/]*\.parquet$/,
  pictures: { image: "one" },
  read: (row) => {
    const line = z.object({
      question_id: z.union([z.string(), z.int()]),
      question: z.string(),
      answer: word,
      category: z.string(),
    });
    const { question_id, question, answer, category } = cellsOf(row, line);
    const [image] = row.pictures("image");
    return draftOf(`${category}-${question_id}`, image, question, answer, category);
  },
};

function draftOf(
  id: string,
  image: ImageSource,
  question: string,
  answer: "yes" | "no",
  category: string,
): Draft {
  return {
    record: { id: `pope-${id}`, images: [image], question, kind: "yes-no", answer, category },
  };
}

type Read = (text: string) => "yes" | "no" | null;

function byWord(read: Read): Protocol["judge"] {
  return (record, reply) => {
    const found = read(said(reply));
    return found === null ? unread : readAs(found, found === record.answer);
  };
}

/** Before the first full stop, commas out, cut at single blanks: No, not or no means no, all else yes. */
const official: Read = (text) => {
  const words = text.split(".")[0].replaceAll(",", "").split(" ");
  return words.some((one) => ["No", "not", "no"].includes(one)) ? "no" : "yes";
};

const lmms: Read = (text) => {
  const bareWord = text.toLowerCase().trim();
  return bareWord === "yes" || bareWord === "no" ? bareWord : null;
};

const vlmevalkit: Read = (text) => {
  const found = yesOrNo(text);
  return found === null ? null : found === "Yes" ? "yes" : "no";
};

/** Accuracy, precision, recall and F1 of "yes", and how often it was said. */
function measures(name: string, scored: readonly Scored[]): Figure[] {
  const n = scored.length;
  const saidYes = scored.filter(({ verdict }) => yesOrNoIn(verdict.read ?? "") === "yes");
  const hits = saidYes.filter(({ record }) => record.answer === "yes").length;
  const yeses = scored.filter(({ record }) => record.answer === "yes").length;
  const precision = hits / Math.max(1, saidYes.length);
  const recall = hits / Math.max(1, yeses);
  const f1 = (2 * precision * recall) / Math.max(Number.MIN_VALUE, precision + recall);
  const figure = (what: string, value: number) => ({
    name: `${name} ${what}`,
    value,
    n,
    mean: what,
  });
  return [
    figure("accuracy", meanOf(scored)),
    figure("precision", precision),
    figure("recall", recall),
    figure("F1", f1),
    figure("share of yes", saidYes.length / Math.max(1, n)),
  ];
}

const bySplit: Figures = (scored) =>
  [...grouped(scored, byCategory)].flatMap(([name, part]) => measures(name, part));

const figures: Figures = (scored) => [
  macroFigure("accuracy (mean of splits)", scored, byCategory),
  ...measures("all questions:", scored),
  ...bySplit(scored),
];

const f1First: Figures = (scored) => {
  const all = measures("all questions:", scored);
  return [all[3], ...all.slice(0, 3), all[4], ...bySplit(scored)];
};

export const pope: Benchmark = {
  name: "pope",
  title: "POPE",
  asks: "whether a thing is in the picture",
  licence: "MIT",
  sources: ["repository: RUCAIBox/POPE", "hub: lmms-lab/POPE"],
  hub: { repo: "lmms-lab/POPE", files: () => /^data\/test-.*\.parquet$/ },
  questions: 9000,
  metric: "mean of the accuracies of the three splits",
  splits: ["coco"],
  layouts: [lines, parquet],
  protocols: {
    ours: ours(figures),
    vigorl: vigorl("spatial", figures),
    official: {
      about:
        "no where No, not or no is a word before the first full stop, else yes, whatever the reply says",
      prompt: bare(),
      judge: byWord(official),
      figures,
    },
    "lmms-eval": {
      about: "the whole reply has to be yes or no, case and blanks aside",
      prompt: bare(
        ({ question }) => `${question}\nAnswer the question using a single word or phrase.`,
      ),
      pixels: harnessPixels["lmms-eval"],
      judge: byWord(lmms),
      figures,
    },
    vlmevalkit: {
      about: "yes or no where exactly one of the words is in the reply; its headline is F1",
      prompt: bare(({ question }) => `${question} Please answer yes or no.`),
      pixels: harnessPixels.vlmevalkit,
      judge: byWord(vlmevalkit),
      figures: f1First,
    },
  },
  published: [
    { who: "Qwen2.5-VL-7B", value: 87.8, where: "AdaVaR's report" },
    { who: "Qwen2.5-VL-7B", value: 87.2, where: "AutoTool's report" },
    { who: "AdaVaR-7B", value: 89.0, where: "its report" },
    { who: "DeepEyes", value: 87.7, where: "reports" },
    { who: "GPT-4o", value: 86.9, where: "reports" },
  ],
  notes: [
    "Papers print the mean accuracy or the mean F1; both are given. An empty reply is yes to the official rule.",
    "lmms-eval prints the share of yes among the golds, which is always one half; ours is that of the replies.",
  ],
};
