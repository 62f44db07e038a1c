/**
 * Causal controls: the same model on the same questions with one thing taken away. If the zoom
 * matters, accuracy falls with the crop; if the picture matters, it falls without the picture.
 * Conditions change what an episode is given, never how it is run or judged.
 */
import { fillBlack } from "../image/crop.ts";
import { loadImages, type TaskRecord } from "../task/record.ts";
import type { ZoomConfig } from "../task/zoom.ts";

/** What is done to an episode; `none` is the model as it is. */
export const conditions = ["none", "crop-blank", "crop-elsewhere", "no-tool", "no-image"] as const;
export type Condition = (typeof conditions)[number];

/** What each condition says, in words for reports. */
export const conditionText: Readonly<Record<Condition, string>> = {
  none: "as it is",
  "crop-blank": "every zoom returns black",
  "crop-elsewhere": "every zoom shows a random other place",
  "no-tool": "no zoom tool, one turn",
  "no-image": "the picture is black, and so are its crops",
};

/** The zoom settings under a condition. Apply them before prompts are made: they speak of the tool. */
export function conditionZoom(zoom: ZoomConfig, condition: Condition): ZoomConfig {
  switch (condition) {
    case "crop-blank":
      return { ...zoom, control: "blank" };
    case "crop-elsewhere":
      return { ...zoom, control: "elsewhere" };
    case "no-tool":
      return { ...zoom, enabled: false };
    default:
      return zoom;
  }
}

/** The record under a condition: for `no-image`, black images of the same sizes. */
export function conditionRecord(record: TaskRecord, condition: Condition): TaskRecord {
  if (condition !== "no-image") return record;
  return {
    ...record,
    images: record.images.map((source, i) => ({
      kind: "render",
      name: `black in place of image ${i}`,
      render: async () => fillBlack((await loadImages({ ...record, images: [source] }))[0]),
    })),
  };
}
