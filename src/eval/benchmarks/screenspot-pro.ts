/**
 * ScreenSpot-Pro: small elements of professional programs on large screenshots. Its JSON writes corners
 * in pixels, unlike the first two ScreenSpots. "Pro-LR" is the paper's variant, whose pictures are
 * brought to 1920 × 1920 first; no code of it is published.
 */
import { z } from "zod";
import { resize } from "../../image/resize.ts";
import { loadImages, type ImageSource, type TaskRecord } from "../../task/record.ts";
import type { Row } from "../../data/rows/row.ts";
import type {
  Benchmark,
  Draft,
  Figures,
  Layout,
  PixelBox,
  PixelSize,
  RowContext,
} from "./benchmark.ts";
import { joined, micro, only } from "./figures.ts";
import { cellsOf } from "./load.ts";
import { bare, harnessPixels, ours, vigorl } from "./protocols.ts";
import { byPoint, lmmsSharePoint, seenPoint, shareBox, vlmevalkitPoint } from "./rules/points.ts";

const cells = z.object({
  id: z.string(),
  img_filename: z.string(),
  bbox: z.array(z.number()),
  instruction: z.string(),
  application: z.string(),
  platform: z.string(),
  img_size: z.tuple([z.number(), z.number()]),
  ui_type: z.enum(["text", "icon"]),
  group: z.string(),
});

const layout = {
  name: "annotations/*.json with images/, as published",
  format: "json",
  files: () => /(?:^|\/)annotations\/[^/]+\.json$/,
  read: (row: Row, { picture }: RowContext): Draft => {
    const { id, img_filename, bbox, instruction, img_size, ...about } = cellsOf(row, cells);
    const [widthPx, heightPx] = img_size;
    return {
      record: {
        id,
        images: [picture(img_filename)],
        question: instruction,
        kind: "point",
        answer: { box: [0, 0, 1, 1] },
        category: about.group,
        facts: {
          type: about.ui_type,
          application: about.application,
          platform: about.platform,
        },
      },
      boxes: {
        numbers: [bbox],
        conventions: ["xyxy pixels"],
        size: { widthPx, heightPx },
        place: withBox,
      },
    };
  },
} satisfies Layout;

function withBox(record: TaskRecord, [box]: readonly PixelBox[], size: PixelSize): TaskRecord {
  const facts = { ...record.facts, size: [size.widthPx, size.heightPx] };
  return { ...record, answer: { box }, facts };
}

/** Overall, text and icon, then groups, each whole and by type. */
const figures: Figures = (scored) => {
  const types = ["text", "icon"] as const;
  const typed = types.map((type) =>
    only(
      ({ record }) => record.facts?.type === type,
      micro(() => null, type),
    ),
  );
  const byGroup = micro(({ record }) => record.category ?? null);
  const cells = micro(({ record }) => `${record.category} · ${String(record.facts?.type)}`);
  const [overall, ...groups] = byGroup(scored);
  return [overall, ...joined(...typed)(scored), ...groups, ...cells(scored).slice(1)];
};

const protocols = {
  ours: ours(figures),
  vigorl: vigorl("web", figures),
  official: {
    about:
      "two numbers are a point, four a box whose middle counts, in pixels of the picture as the model sees it; edges belong to the box; a reply with other numbers is wrong",
    prompt: bare(
      ({ question }) =>
        `Give the place to click for the instruction below, as [x, y] in the coordinates of the image.\n${question}`,
    ),
    pixels: { maxPixels: 99_999_999 },
    judge: byPoint(seenPoint),
    figures,
  },
  "lmms-eval": {
    about:
      "the first bracketed pair, x: and y:, or the first two numbers, as shares of the sides, or as pixels where one is above 1",
    prompt: bare(
      ({ question }) =>
        `Where would you click for this instruction? Write one point [x, y], both as shares of the sides between 0 and 1, and no box.\nInstruction: ${question}`,
    ),
    pixels: harnessPixels["lmms-eval"],
    judge: byPoint((text, _, { size }) => lmmsSharePoint(text, size)),
    figures,
  },
  vlmevalkit: {
    about:
      "only `x=…, y=…` with one blank is read, (0, 0) where there is none; pixels where a number is above 1",
    prompt: bare(
      ({ question }) =>
        `Answer with pyautogui.click(x=?, y=?) alone, for this task on the screenshot:\n${question}`,
    ),
    pixels: harnessPixels.vlmevalkit,
    judge: byPoint(vlmevalkitPoint, shareBox),
    figures,
  },
} satisfies Benchmark["protocols"];

const paper = "ViGoRL, arXiv 2505.23678";

export const screenspotPro: Benchmark = {
  name: "screenspot-pro",
  title: "ScreenSpot-Pro",
  asks: "the place of a described element on a screenshot of a professional program",
  licence: "MIT",
  sources: ["hub: likaixin/ScreenSpot-Pro"],
  hub: {
    repo: "likaixin/ScreenSpot-Pro",
    files: () => /^(?:annotations\/.+\.json|images\/.+\.png)$/,
  },
  questions: 1581,
  metric: "points in their box, over all questions",
  splits: ["test"],
  layouts: [layout],
  protocols,
  published: [
    { who: "Qwen2.5-VL-3B", value: 23.9, where: paper },
    { who: "Qwen2.5-VL-3B, another table of the paper", value: 9.3, plusMinus: 1.4, where: paper },
    { who: "ViGoRL-3B", value: 31.1, plusMinus: 2.3, where: paper },
    { who: "ViGoRL-3B, several turns", value: 32.3, where: paper },
    { who: "Qwen2.5-VL-7B", value: 29.0, where: paper },
    { who: "ViGoRL-7B", value: 33.1, where: paper },
    { who: "SE-GUI-3B", value: 35.9, where: "reports" },
    { who: "SE-GUI-7B", value: 47.2, where: "reports" },
    { who: "MiMo-VL-7B-RL", value: 41.9, where: "reports" },
  ],
  notes: [
    "The published driver forces the beginning of a computer-use call; ours asks in words.",
    "Positive samples, English instructions. Every cell is a mean over its questions.",
  ],
};

export const screenspotProLr: Benchmark = {
  ...screenspotPro,
  name: "screenspot-pro-lr",
  title: "ScreenSpot-Pro-LR",
  asks: "the same on screenshots that are brought to 1920 × 1920 first",
  layouts: [{ ...layout, read: (row, context) => shrunk(layout.read(row, context)) }],
  published: [
    { who: "Qwen2.5-VL-3B", value: 1.96, where: paper },
    { who: "ViGoRL-3B", value: 21.32, plusMinus: 2.28, where: paper },
    { who: "ViGoRL-3B, several turns", value: 23.72, plusMinus: 2.39, where: paper },
  ],
  notes: [
    "In the appendix of the paper alone. Ours shrinks by min(1, 1920 / longest side), bicubic; crops are cut from the shrunk picture.",
  ],
};

const longestSide = 1920;

function shrunk(draft: Draft): Draft {
  if (draft.boxes === undefined) return draft;
  const { record, boxes } = draft;
  const place: typeof boxes.place = (onRecord, [box], size) => {
    const [x0, y0, x1, y1] = box;
    const s = shrinkage(size);
    return withBox(onRecord, [[x0 * s, y0 * s, x1 * s, y1 * s]], shrunkSize(size));
  };
  return {
    record: { ...record, images: record.images.map((image) => shrunkImage(record, image)) },
    boxes: { ...boxes, place },
  };
}

function shrunkImage(record: TaskRecord, source: ImageSource): ImageSource {
  return {
    kind: "render",
    name: `${record.id}, shrunk`,
    render: async () => {
      const [image] = await loadImages({ ...record, images: [source] });
      return resize(image, shrunkSize(image), "bicubic");
    },
  };
}

function shrinkage({ widthPx, heightPx }: PixelSize): number {
  return Math.min(1, longestSide / Math.max(widthPx, heightPx));
}

function shrunkSize(size: PixelSize): PixelSize {
  const s = shrinkage(size);
  return { widthPx: Math.round(size.widthPx * s), heightPx: Math.round(size.heightPx * s) };
}
