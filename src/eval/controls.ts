/**
 * Causal controls: the same model on the same questions with one thing taken away. If a tool matters,
 * accuracy falls without what it returns; if the picture matters, it falls without the picture.
 * Conditions change what an episode is given, never how it is run or judged.
 */
import { fillBlack } from "../image/crop.ts";
import { loadImages, type TaskRecord } from "../task/record.ts";
import { blank, elsewhere, none, type ToolControl } from "../task/tools/controls.ts";

interface ConditionRow {
  /** What it says, in words for reports. */
  readonly text: string;
  /** What is done to every tool, before prompts are made: they speak of the tools. */
  readonly tool: ToolControl | null;
  /** What is done to the question. */
  readonly record: (record: TaskRecord) => TaskRecord;
}

const asItIs = (record: TaskRecord): TaskRecord => record;

/** What is done to an episode; `none` is the model as it is. */
export const conditionTable = {
  none: { text: "as it is", tool: null, record: asItIs },
  "crop-blank": {
    text: "every picture that a tool returns is black",
    tool: blank,
    record: asItIs,
  },
  "crop-elsewhere": {
    text: "every tool looks at a random other place",
    tool: elsewhere,
    record: asItIs,
  },
  "no-tool": { text: "no tool, one turn", tool: none, record: asItIs },
  "no-image": { text: "the picture is black, and so are its crops", tool: null, record: inBlack },
} satisfies Record<string, ConditionRow>;

export type Condition = keyof typeof conditionTable;

export const conditions = Object.keys(conditionTable) as [Condition, ...Condition[]];

/** The record with black images of the same sizes. */
function inBlack(record: TaskRecord): TaskRecord {
  return {
    ...record,
    images: record.images.map((source, i) => ({
      kind: "render",
      name: `black in place of image ${i}`,
      render: async () => fillBlack((await loadImages({ ...record, images: [source] }))[0]),
    })),
  };
}
