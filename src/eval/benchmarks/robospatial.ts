/**
 * RoboSpatial-Home: rooms as a robot sees them. Two thirds of the questions are yes or no, one third asks
 * for a place in free space, given as a polygon in shares of the sides.
 */
import { z } from "zod";
import { VigorlError } from "../../core/errors.ts";
import type { TaskRecord } from "../../task/record.ts";
import type { Benchmark, Draft, Layout, Protocol } from "./benchmark.ts";
import { byCategory, joined, macroFigure, micro, microFigure, only } from "./figures.ts";
import { factNumbers, factText, readAs, said, unread, vigorlJudge } from "./judging.ts";
import { cellsOf, pictureSize } from "./load.ts";
import { bare, harnessPixels, ours, publishedQuestion, vigorl } from "./protocols.ts";
import { insideRays } from "./rules/points.ts";

const cells = z.object({
  category: z.enum(["context", "compatibility", "configuration"]),
  question: z.string(),
  answer: z.string(),
});

const layout: Layout = {
  name: "Parquet, a file for each kind of question",
  format: "parquet",
  files: () => /(?:^|\/)(?<part>context|compatibility|configuration)-[^/]*\.parquet$/,
  pictures: { img: "one", depth_image: "one", mask: "one" },
  read: async (row, { index }): Promise<Draft> => {
    const { category, question, answer } = cellsOf(row, cells);
    const images = row.pictures("img");
    const record = { id: `robospatial-${index}`, images, category };
    if (category !== "context") {
      const asked = question.replace(/\s*Answer yes or no\.?\s*$/i, "");
      return {
        record: { ...record, question: asked, kind: "yes-no", answer, facts: { question } },
      };
    }
    const shares = verticesIn(answer);
    if (shares === null)
      throw new VigorlError("input", `${row.place}: answer: is no polygon in shares of the sides`);
    const { widthPx, heightPx } = await pictureSize(images[0], row.place);
    const polygon = shares.map(([x, y]) => [x * widthPx, y * heightPx] as const);
    // What follows asks for shares; the recipe asks in the model's own coordinates.
    const asked = question.replace(/\s*Your answer should be formatted[^]*$/i, "");
    const facts = { question, polygon: shares.flat() };
    return { record: { ...record, question: asked, kind: "point", answer: { polygon }, facts } };
  },
};

function verticesIn(text: string): [number, number][] | null {
  const pairs = [...text.matchAll(/\(\s*(-?[\d.]+)\s*,\s*(-?[\d.]+)\s*\)/g)];
  const vertices = pairs.map(([, x, y]): [number, number] => [Number(x), Number(y)]);
  const areShares = vertices.flat().every((value) => value >= 0 && value <= 1);
  return vertices.length >= 3 && areShares ? vertices : null;
}

/** Begins with the right word; or the first (x, y), else the first [x, y], in shares, inside the polygon. */
const official: Protocol["judge"] = (record, reply) => {
  const text = said(reply);
  if (record.kind === "yes-no")
    return readAs(text, text.toLowerCase().trim().startsWith(goldWord(record)));
  const number = String.raw`\s*(\d+(?:\.\d+)?|\.\d+)\s*`;
  const match =
    new RegExp(String.raw`\(${number},${number}\)`).exec(text) ??
    new RegExp(String.raw`\[${number},${number}\]`).exec(text);
  if (match === null) return unread;
  const polygon = factNumbers(record, "polygon");
  const at = { x: Number(match[1]), y: Number(match[2]) };
  return readAs(`(${at.x}, ${at.y})`, insideRays(at, polygon));
};

/** Yes where the last line has "yes" and not "no", and the other way round. */
const lmms: Protocol["judge"] = (record, reply) => {
  if (record.kind !== "yes-no") return unread;
  const last = said(reply).trim().split("\n").at(-1)?.toLowerCase() ?? "";
  const [yes, no] = [last.includes("yes"), last.includes("no")];
  return yes === no
    ? unread
    : readAs(yes ? "yes" : "no", (yes ? "yes" : "no") === goldWord(record));
};

function goldWord({ answer }: TaskRecord): string {
  return typeof answer === "string" ? answer.toLowerCase().trim() : "";
}

const isVqa = ({ record }: { record: TaskRecord }) => record.category !== "context";
const vqa = only(isVqa, (scored) => [
  macroFigure("configuration and compatibility (mean of both)", scored, byCategory),
  microFigure("configuration and compatibility (mean of questions)", scored),
]);
const all = joined(
  (scored) => [macroFigure("total (mean of the three)", scored, byCategory)],
  micro(),
  vqa,
);
const withoutPlaces = joined(
  (scored) => vqa(scored).toReversed(),
  only(isVqa, (scored) => micro()(scored).slice(1)),
);
const paper = "ViGoRL, arXiv 2505.23678";

export const robospatial: Benchmark = {
  name: "robospatial",
  title: "RoboSpatial-Home",
  asks: "where things are and fit in rooms: yes or no, and places in free space",
  licence: "Apache-2.0",
  sources: ["hub: chanhee-luke/RoboSpatial-Home"],
  hub: { repo: "chanhee-luke/RoboSpatial-Home", files: () => /^data\/.*\.parquet$/ },
  questions: 350,
  metric: "mean of the accuracies of the three kinds of question",
  splits: ["all"],
  layouts: [layout],
  protocols: {
    ours: ours(all),
    vigorl: vigorl("spatial", withoutPlaces, { judge: vigorlJudge }),
    official: {
      about:
        "the reply begins with the right word; or its first (x, y), else [x, y], lies in the polygon, as shares of the sides",
      prompt: bare((record) => factText(record, "question")),
      judge: official,
      figures: all,
    },
    "lmms-eval": {
      about:
        "the last line has yes and not no, or the reverse; places need the pixels of a mask and are not scored",
      prompt: bare(publishedQuestion()),
      pixels: harnessPixels["lmms-eval"],
      judge: lmms,
      figures: withoutPlaces,
    },
  },
  published: [
    { who: "Qwen2.5-VL-3B", value: 54.4, where: paper },
    { who: "ViGoRL-3B", value: 67.1, plusMinus: 6.1, where: paper },
    { who: "Qwen2.5-VL-7B", value: 46.7, plusMinus: 9.5, where: paper },
    { who: "ViGoRL-7B", value: 76.4, plusMinus: 7.5, where: paper },
    { who: "GPT-4o", what: "configuration", value: 74.0, where: "its leaderboard" },
    { who: "GPT-4o", what: "compatibility", value: 55.2, where: "its leaderboard" },
    { who: "GPT-4o", what: "places", value: 6.6, where: "its leaderboard" },
    { who: "GPT-4o", what: "total", value: 45.3, where: "its leaderboard" },
  ],
  notes: [
    "The paper's figures are of configuration and compatibility alone (228 questions).",
    "Its folder of annotations.json and images/, as a helper of the authors writes it, is not read.",
  ],
};
