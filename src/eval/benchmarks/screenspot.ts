/**
 * ScreenSpot and ScreenSpot-v2: described elements on screenshots of phones, desktops and web pages.
 * Published JSON has a corner with width and height in pixels; the copies of the hub have corners in
 * shares of the sides.
 */
import { z } from "zod";
import type { Row } from "../../data/rows/row.ts";
import type { ImageSource, TaskRecord } from "../../task/record.ts";
import type {
  Benchmark,
  Draft,
  Figures,
  Layout,
  PixelBox,
  PixelSize,
  Scored,
} from "./benchmark.ts";
import type { Convention } from "./boxes.ts";
import { grouped, macroFigure, meanOf, micro, microFigure, only } from "./figures.ts";
import { cellsOf } from "./load.ts";
import { bare, harnessPixels, ours, vigorl } from "./protocols.ts";
import {
  byPoint,
  lastPixelBox,
  lmmsBoxMiddle,
  lmmsPoint,
  seeClickPoint,
  targetOf,
  vlmevalkitPoint,
  isInside,
} from "./rules/points.ts";
import { factNumbers, readAs, said, unread } from "./judging.ts";

const cells = z.object({
  bbox: z.array(z.number()),
  instruction: z.string(),
  data_type: z.enum(["text", "icon"]),
  data_source: z.string(),
});

const platforms: Readonly<Record<string, string>> = {
  ios: "mobile",
  android: "mobile",
  macos: "desktop",
  windows: "desktop",
};

function json(name: string, files: Layout["files"]): Layout {
  return {
    name,
    format: "json",
    files,
    read: (row, { picture, index }) => {
      const { img_filename } = cellsOf(row, z.object({ img_filename: z.string() }));
      return draftOf(row, index, picture(img_filename), "xywh pixels");
    },
  };
}

const copy: Layout = {
  name: "Parquet copy, corners in shares",
  format: "parquet",
  files: () => /(?:^|\/)test-[^/]*\.parquet$/,
  pictures: { image: "one" },
  read: (row, { index }) => draftOf(row, index, row.pictures("image")[0], "xyxy shares"),
};

function draftOf(row: Row, index: number, image: ImageSource, convention: Convention): Draft {
  const { bbox, instruction, data_type, data_source } = cellsOf(row, cells);
  const platform = platforms[data_source] ?? "web";
  return {
    record: {
      id: `screenspot-${index}`,
      images: [image],
      question: instruction,
      kind: "point",
      answer: { box: [0, 0, 1, 1] },
      category: `${platform} ${data_type}`,
      facts: { type: data_type, platform, published: bbox, convention },
    },
    boxes: {
      numbers: [bbox],
      conventions: [convention],
      size: null,
      place: (record, [box], size) => withBox(record, box, size),
    },
  };
}

function withBox(record: TaskRecord, box: PixelBox, { widthPx, heightPx }: PixelSize): TaskRecord {
  return { ...record, answer: { box }, facts: { ...record.facts, size: [widthPx, heightPx] } };
}

const cellOf = ({ record }: Scored) => record.category ?? null;
const ofType = (type: string, figures: Figures): Figures =>
  only(({ record }) => record.facts?.type === type, figures);

/** Micro first or the mean of the six cells first: both are printed as "average". */
function averages(first: "micro" | "cells"): Figures {
  return (scored) => {
    const [overall, ...cells] = micro(cellOf)(scored);
    const both = [overall, macroFigure("mean of the six cells", scored, cellOf)];
    const types = ["text", "icon"].flatMap((type) =>
      ofType(type, (part) => [microFigure(type, part)])(scored),
    );
    return [...(first === "micro" ? both : both.toReversed()), ...types, ...cells];
  };
}

/** VLMEvalKit weights a cell by the square of its size in its totals of text and icon. */
const squared: Figures = (scored) => [
  ...averages("micro")(scored),
  ...["text", "icon"].flatMap((type) =>
    ofType(type, (part) => {
      const cells = [...grouped(part, cellOf).values()];
      const weight = cells.reduce((sum, cell) => sum + cell.length ** 2, 0);
      const value = cells.reduce((sum, cell) => sum + meanOf(cell) * cell.length ** 2, 0) / weight;
      return [
        { name: `${type}, as VLMEvalKit totals it`, value, n: part.length, mean: "cells by size²" },
      ];
    })(scored),
  ),
];

/** lmms-eval's box of version 2: what it takes for corners and what for width and height. */
function lmmsBox(record: TaskRecord): PixelBox {
  const [x0, y0, c, d] = factNumbers(record, "published");
  if (record.facts?.convention === "xyxy shares") return [x0, y0, c, d];
  const { size } = targetOf(record);
  const [x1, y1] = c > x0 && d > y0 ? [c, d] : [x0 + c, y0 + d];
  return [x0 / size.widthPx, y0 / size.heightPx, x1 / size.widthPx, y1 / size.heightPx];
}

const click = (question: string) => `Answer with pyautogui.click(x=?, y=?) alone:\n${question}`;
const position = ({ question }: TaskRecord) =>
  `In this UI screenshot, what is the position of the element corresponding to the command "${question}" (with point)?`;

const shared = {
  ours: ours(averages("micro")),
  vigorl: vigorl("web", averages("micro")),
  official: {
    about:
      "a reply that says box has one in thousandths, whose middle counts; else two numbers are a point and four a box, as shares of the sides; edges belong to the box",
    prompt: bare(position),
    judge: byPoint(seeClickPoint),
    figures: averages("cells"),
  },
  vlmevalkit: {
    about:
      "only `x=…, y=…` with one blank is read, (0, 0) where there is none; the far edges of a box are its last pixels",
    prompt: bare(({ question }) => click(question)),
    pixels: harnessPixels.vlmevalkit,
    judge: byPoint(vlmevalkitPoint, lastPixelBox),
    figures: squared,
  },
} satisfies Benchmark["protocols"];

export const screenspot: Benchmark = {
  name: "screenspot",
  title: "ScreenSpot",
  asks: "the place of a described element on a phone, a desktop or a web page",
  licence: "Apache-2.0 (the hub's copy)",
  sources: ["repository: SeeClick", "hub: rootsautomation/ScreenSpot (copy)"],
  hub: { repo: "rootsautomation/ScreenSpot", files: () => /^data\/test-.*\.parquet$/ },
  questions: 1272,
  metric: "points in their box, over all questions and as the mean of six cells",
  splits: ["test"],
  layouts: [
    json(
      "JSON with screenspot_imgs/",
      () => /(?:^|\/)screenspot_(?<part>mobile|desktop|web)\.json$/,
    ),
    copy,
  ],
  protocols: {
    ...shared,
    "lmms-eval": {
      about:
        "a box of four numbers in brackets is needed, in thousandths where one is above 1; its middle counts",
      prompt: bare(
        ({ question }) =>
          `Give the bounding box (left, top, right, bottom), as shares of the sides with two decimals, of the region that this command means: ${question}`,
      ),
      pixels: harnessPixels["lmms-eval"],
      judge: byPoint(lmmsBoxMiddle),
      figures: averages("micro"),
    },
  },
  published: [
    { who: "Qwen2.5-VL-3B", value: 55.5, where: "Qwen2.5-VL's report" },
    { who: "Qwen2.5-VL-7B", value: 84.7, where: "Qwen2.5-VL's report" },
    { who: "Qwen2.5-VL-72B", value: 87.1, where: "Qwen2.5-VL's report" },
    { who: "SeeClick", what: "mean of the six cells", value: 53.4, where: "its report" },
    { who: "MiMo-VL-7B-RL", value: 87.2, where: "its report" },
  ],
  notes: [
    "Two averages are in print: over all questions, and the mean of six cells. Both are given.",
  ],
};

export const screenspotV2: Benchmark = {
  ...screenspot,
  name: "screenspot-v2",
  title: "ScreenSpot-v2",
  asks: "the same, with corrected labels",
  licence: "Apache-2.0",
  sources: [
    "hub: OS-Copilot/ScreenSpot-v2",
    "hub: HongxinLi/ScreenSpot_v2 (copy, smaller pictures)",
  ],
  hub: {
    repo: "OS-Copilot/ScreenSpot-v2",
    files: () => /^(?:screenspot_\w+_v2\.json|screenspotv2_image\.zip)$/,
  },
  questions: null,
  metric: "points in their box, over all questions",
  layouts: [
    json(
      "JSON with screenspotv2_image/",
      () => /(?:^|\/)screenspot_(?<part>mobile|desktop|web)_v2\.json$/,
    ),
    copy,
  ],
  protocols: {
    ...shared,
    official: { ...shared.official, figures: averages("micro") },
    "lmms-eval": {
      about:
        "a point as of ScreenSpot-Pro, but pixels are divided by 1 where the data name no size, and a box with width and height may be taken for corners",
      prompt: bare(
        ({ question }) =>
          `Where would you click for this instruction? Write one point [x, y], both as shares of the sides between 0 and 1, and no box.\nInstruction: ${question}`,
      ),
      pixels: harnessPixels["lmms-eval"],
      judge: (record, reply) => {
        const at = lmmsPoint(said(reply));
        return at === null ? unread : readAs(`(${at.x}, ${at.y})`, isInside(at, lmmsBox(record)));
      },
      figures: averages("micro"),
    },
  },
  published: [
    { who: "Qwen2.5-VL-3B", value: 68.4, where: "ViGoRL, arXiv 2505.23678" },
    { who: "ViGoRL-3B", value: 86.5, plusMinus: 1.9, where: "ViGoRL, arXiv 2505.23678" },
    { who: "Qwen2.5-VL-7B", value: 73.6, where: "ViGoRL, arXiv 2505.23678" },
    { who: "ViGoRL-7B", value: 91.0, where: "ViGoRL, arXiv 2505.23678" },
    { who: "Qwen2.5-VL-7B", value: 88.0, where: "MiMo-VL's report" },
    { who: "MiMo-VL-7B-RL", value: 90.5, where: "its report" },
  ],
  notes: [
    "The pictures come as an archive: unpack screenspotv2_image.zip beside the JSON files.",
    "Qwen2.5-VL-7B is printed with 55.0, 73.6 and 88.0: the prompt decides.",
  ],
};
