/**
 * OSWorld-G: elements, regions and things that are not there, on screenshots of a desktop. Boxes are a
 * corner with width and height, polygons flat lists of corners; a refusal is right where both
 * coordinates are below zero.
 */
import { z } from "zod";
import { VigorlError } from "../../core/errors.ts";
import { readJsonFile } from "../../core/json-file.ts";
import type { Row } from "../../data/rows/row.ts";
import type { TaskRecord } from "../../task/record.ts";
import type {
  Benchmark,
  Draft,
  Figures,
  FindFiles,
  Layout,
  PixelBox,
  Protocol,
  Scored,
} from "./benchmark.ts";
import { micro, microFigure, only } from "./figures.ts";
import { factNumbers, factTexts, readAs, said, unread } from "./judging.ts";
import { cellsOf } from "./load.ts";
import { bare, harnessPixels, inRecipe, ours } from "./protocols.ts";
import {
  insideRays,
  lmmsPoint,
  seenPoint,
  vlmevalkitPoint,
  type SharePoint,
} from "./rules/points.ts";

const cells = z.object({
  id: z.string(),
  image_path: z.string(),
  image_size: z.tuple([z.number(), z.number()]),
  instruction: z.string(),
  box_type: z.enum(["bbox", "polygon", "refusal"]),
  box_coordinates: z.array(z.number()),
});

const classesSchema = z.object({
  classified: z.record(z.string(), z.array(z.object({ id: z.string() }))),
});

const layout: Layout = {
  name: "JSON with images/",
  format: "json",
  files: (split) =>
    split === "refined" ? /(?:^|\/)OSWorld-G_refined\.json$/ : /(?:^|\/)OSWorld-G\.json$/,
  read: async (row, { picture, side }): Promise<Draft> => {
    const { id, image_path, image_size, instruction, ...target } = cellsOf(row, cells);
    const { box_type: type, box_coordinates: numbers } = target;
    const classes = await side("classes", readClasses);
    const [widthPx, heightPx] = image_size;
    const record: TaskRecord = {
      id,
      images: [picture(image_path)],
      question: instruction,
      kind: "point",
      answer: { absent: true },
      category: type,
      facts: { type, numbers, size: image_size, classes: classes.get(id) ?? [] },
    };
    if (type === "refusal") return { record };
    if (type === "polygon")
      return { record: { ...record, answer: polygonOf(row, numbers, image_size) } };
    return {
      record,
      boxes: {
        numbers: [numbers],
        conventions: ["xywh pixels"],
        size: { widthPx, heightPx },
        place: (one, [box]: readonly PixelBox[]) => ({ ...one, answer: { box } }),
      },
    };
  },
};

async function readClasses(find: FindFiles): Promise<Map<string, string[]>> {
  const classes = new Map<string, string[]>();
  for (const file of find(/(?:^|\/)classification_result\.json$/)) {
    const { classified } = await readJsonFile(file, classesSchema, "download it again");
    for (const [name, items] of Object.entries(classified))
      for (const { id } of items) classes.set(id, [...(classes.get(id) ?? []), name]);
  }
  return classes;
}

function polygonOf({ place }: Row, flat: readonly number[], [width, height]: readonly number[]) {
  const corners = flat.flatMap((x, i) => (i % 2 === 0 ? [[x, flat[i + 1]] as const] : []));
  const isIn = corners.every(([x, y]) => x >= -1 && x <= width + 1 && y >= -1 && y <= height + 1);
  if (corners.length < 3 || flat.length % 2 === 1 || !isIn)
    throw new VigorlError(
      "input",
      `${place}: polygon [${flat.join(", ")}] does not lie in the ${width}×${height} picture`,
    );
  return { polygon: corners };
}

/** In pixels of the original; edges of a box belong to it. */
function isRight(record: TaskRecord, { x, y }: SharePoint): boolean {
  const { type, numbers } = record.facts as { type: string; numbers: readonly number[] };
  if (type === "refusal") return x < 0 && y < 0;
  if (type === "polygon") return insideRays({ x, y }, numbers);
  const [left, top, width, height] = numbers;
  return left <= x && x <= left + width && top <= y && y <= top + height;
}

function inPixels(at: SharePoint, record: TaskRecord): SharePoint {
  const [width, height] = factNumbers(record, "size");
  return { x: at.x * width, y: at.y * height };
}

const sizeOf = (record: TaskRecord) => {
  const [widthPx, heightPx] = factNumbers(record, "size");
  return { widthPx, heightPx };
};

const official: Protocol["judge"] = (record, reply) => {
  const at = seenPoint(said(reply), reply, { box: [0, 0, 0, 0], size: sizeOf(record) });
  return at === null ? unread : readAs(`(${at.x}, ${at.y})`, isRight(record, inPixels(at, record)));
};

/** Numbers that are both within [0, 1] are shares, all others pixels. */
const lmms: Protocol["judge"] = (record, reply) => {
  const at = lmmsPoint(said(reply));
  if (at === null) return unread;
  const areShares = at.x >= 0 && at.x <= 1 && at.y >= 0 && at.y <= 1;
  return readAs(`(${at.x}, ${at.y})`, isRight(record, areShares ? inPixels(at, record) : at));
};

/** Always thousandths, and a refusal is never right. */
const vlmevalkit: Protocol["judge"] = (record, reply) => {
  const size = { widthPx: 1000, heightPx: 1000 };
  const read = vlmevalkitPoint(said(reply), reply, { box: [0, 0, 0, 0], size });
  const at = inPixels(read, record);
  return readAs(`(${at.x}, ${at.y})`, record.facts?.type !== "refusal" && isRight(record, at));
};

const labels = (scored: readonly Scored[]) =>
  [...new Set(scored.flatMap(({ record }) => factTexts(record, "classes")))].sort();

/** Over all, without refusals, by form of the target, and by class: a question may have several. */
const figures: Figures = (scored) => {
  const [overall, ...types] = micro()(scored);
  const answerable = only(
    ({ record }) => record.category !== "refusal",
    (part) => [microFigure("without refusals", part)],
  )(scored);
  const classes = labels(scored).map((label) =>
    microFigure(
      `class ${label}`,
      scored.filter(({ record }) => factTexts(record, "classes").includes(label)),
    ),
  );
  return [overall, ...answerable, ...types, ...classes];
};

const orAbsent = ({ question }: TaskRecord) =>
  `${question}\nIf there is no such element, the answer is (-1, -1).`;

export const osworldG: Benchmark = {
  name: "osworld-g",
  title: "OSWorld-G",
  asks: "elements and regions of desktop programs, and whether they are there at all",
  licence: "see its repository",
  sources: ["repository: xlang-ai/OSWorld-G", "hub: MMInstruction/OSWorld-G (copy)"],
  hub: null,
  questions: 564,
  metric: "points in their target, over all questions",
  splits: ["original", "refined"],
  layouts: [layout],
  protocols: {
    ours: ours(figures, { prompt: inRecipe(orAbsent) }),
    official: {
      about:
        "two numbers are a point, four a box whose middle counts, in pixels of the picture as the model sees it; a refusal is two numbers below zero",
      prompt: bare(orAbsent),
      judge: official,
      figures,
    },
    "lmms-eval": {
      about: "two numbers within [0, 1] are shares of the sides, all others pixels of the original",
      prompt: bare(
        ({ question }) =>
          `Where would you click? Write one point [x, y], in shares of the sides or in pixels; [-1, -1] where the target does not exist.\nInstruction: ${question}`,
      ),
      pixels: harnessPixels["lmms-eval"],
      judge: lmms,
      figures,
    },
    vlmevalkit: {
      about: "`x=…, y=…` in thousandths, whatever the model speaks; a refusal is never right",
      prompt: bare(({ question }) => `Answer with pyautogui.click(x=?, y=?) alone:\n${question}`),
      pixels: harnessPixels.vlmevalkit,
      judge: vlmevalkit,
      figures,
    },
  },
  published: [
    { who: "Qwen2.5-VL-7B", value: 37.5, where: "reports" },
    { who: "UI-TARS-7B", value: 34.5, where: "reports" },
    { who: "MiMo-VL-7B-RL", value: 56.1, where: "reports" },
  ],
  notes: [
    "470 boxes, 40 polygons and 54 refusals. Many papers leave the refusals out: both figures are given.",
    'The split "refined" has longer instructions for the same targets. A question may be of several classes.',
    "Facts of its layout come from three independent loaders; its own repository was not at hand.",
  ],
};
