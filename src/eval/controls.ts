/**
 * Causal controls: the same model on the same questions with one thing taken away. If a tool matters,
 * accuracy falls without what it returns; if the picture matters, it falls without the picture.
 * Conditions change what an episode is given, never how it is run or judged; where a condition changes
 * the question itself, its truth goes with it.
 */
import { VigorlError } from "../core/errors.ts";
import { fillBlack } from "../image/crop.ts";
import { loadImages, type TaskRecord } from "../task/record.ts";
import { changedRecords, type Records } from "../task/records.ts";
import { shuffleOptions, type Unshuffled } from "./shuffle-options.ts";
import { blank, elsewhere, none, type ToolControl } from "../task/tools/controls.ts";

interface ConditionRow {
  /** What it says, in words for reports. */
  readonly text: string;
  /** What is done to every tool, before prompts are made: they speak of the tools. */
  readonly tool: ToolControl | null;
  /** What is shown in place of the record, which is judged by its own truth. */
  readonly record: (record: TaskRecord) => TaskRecord;
  /** The question that is asked and judged in its place, or why there is none. */
  readonly question?: (record: TaskRecord, seed: number) => TaskRecord | Unshuffled;
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
  "options-shuffled": {
    text: "the options stand in a random other order",
    tool: null,
    record: asItIs,
    question: shuffleOptions,
  },
} satisfies Record<string, ConditionRow>;

export type Condition = keyof typeof conditionTable;

export const conditions = Object.keys(conditionTable) as [Condition, ...Condition[]];

/** What is asked under a condition. */
export interface Asked {
  readonly records: Records;
  /** Questions that are not asked, by the reason. */
  readonly leftOut: Readonly<Partial<Record<Unshuffled, number>>>;
}

/** The questions of an arm, and those that the condition has nothing to ask of; found out once for all. */
export function askedUnder(condition: Condition, records: Records, seed: number): Asked {
  const { question }: ConditionRow = conditionTable[condition];
  if (question === undefined) return { records, leftOut: {} };
  const key = `${condition} ${seed}`;
  const ofRecords = found.get(records) ?? new Map<string, Asked>();
  const asked = ofRecords.get(key) ?? askedInstead(records, (record) => question(record, seed));
  found.set(records, ofRecords.set(key, asked));
  return asked;
}

const found = new WeakMap<Records, Map<string, Asked>>();

function askedInstead(
  records: Records,
  question: (record: TaskRecord) => TaskRecord | Unshuffled,
): Asked {
  const leftOut: Partial<Record<Unshuffled, number>> = {};
  const places: number[] = [];
  let place = 0;
  for (const record of records) {
    const other = question(record);
    if (typeof other === "string") leftOut[other] = (leftOut[other] ?? 0) + 1;
    else places.push(place);
    place++;
  }
  const change = (record: TaskRecord): TaskRecord => {
    const other = question(record);
    if (typeof other === "string") throw new Error(`record ${record.id} has no other question`);
    return other;
  };
  return { records: changedRecords(records, change, places), leftOut };
}

/** A condition by its name on disk. @throws VigorlError("input") for one that is none */
export function conditionOf(name: string, place: string): Condition {
  const found = conditions.find((condition) => condition === name);
  if (found !== undefined) return found;
  throw new VigorlError("input", `${place}: there is no condition ${name}`, {
    hint: `conditions are ${conditions.join(", ")}`,
  });
}

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
