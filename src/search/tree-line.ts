/**
 * A finished tree as one line of `trees.jsonl`: plain data, no pixels. It holds what every step said
 * and saw, the statistics of the search, and everything it depended on: settings, seed, limits.
 */
import { z } from "zod";
import { readJsonl } from "../core/jsonl.ts";
import { kindNames } from "../task/kinds.ts";
import {
  ofVersion,
  pictureLineSchema,
  recordPlaceSchema,
  toolUseSchema,
  viewSchema,
} from "../task/lines.ts";
import { dialectNames } from "../text/dialects/table.ts";

/** One grounded step: a turn, a think block, or an answer. */
export const stepLineSchema = z.strictObject({
  /** What the assistant said in it, tags included, a forced opening too. */
  text: z.string(),
  /** Its thoughts, without tags. */
  think: z.string(),
  /** Points of its thoughts. */
  points: z.array(recordPlaceSchema),
  /** The tool call that was carried out, or failed, and the picture that came back. */
  toolUse: toolUseSchema.nullable(),
  picture: pictureLineSchema.nullable(),
  answer: z.string().nullable(),
  /** The answer was opened for the model. */
  forced: z.boolean(),
  /** Tokens the model wrote. */
  numTokens: z.int().min(0),
});
export type StepLine = z.infer<typeof stepLineSchema>;

/** Steps from a node to an end. At an answer there are none, and the answer is the node's own. */
export const rolloutLineSchema = z.strictObject({
  steps: z.array(stepLineSchema),
  /** Null where it ended without one. */
  answer: z.string().nullable(),
  /** The judge's verdict in [0, 1]; 0 without an answer. */
  reward: z.number(),
  /** How it ended: a stop reason of episodes, or "stepLimit". */
  end: z.string(),
});
export type RolloutLine = z.infer<typeof rolloutLineSchema>;

/**
 * What a node is. "turn": a turn that may call a tool, whose answer the next one sees. "thought": a
 * think block of one message. "packed": a reply to a prompt that lists the thoughts so far.
 */
export const stepKinds = ["turn", "thought", "packed"] as const;
export type StepKind = (typeof stepKinds)[number];

/** Whether a tool did in a step what it was asked for. */
export function usedTool({ toolUse }: Pick<StepLine, "toolUse">): boolean {
  return toolUse !== null && toolUse.fault === null;
}

/** Reward from which an answer counts as correct. */
export const correctReward = 1;

/** Why sampled children are not in the tree. */
export const dropReasons = ["samePlace", "sameText", "sameAnswer", "noStep", "badReply"] as const;
export type DropReason = (typeof dropReasons)[number];

const nodeFields = {
  /** "r" is the root; "r.2.0" is the first reply to the third reply to it. */
  id: z.string(),
  /** Null at the root. */
  step: stepLineSchema.nullable(),
  visits: z.int().min(0),
  /** Mean reward of the simulations that went through. */
  value: z.number(),
  expansions: z.int().min(0),
  dropped: z.partialRecord(z.enum(dropReasons), z.int()),
  rollouts: z.array(rolloutLineSchema),
};

export interface NodeLine {
  id: string;
  step: StepLine | null;
  visits: number;
  value: number;
  expansions: number;
  dropped: Partial<Record<DropReason, number>>;
  rollouts: RolloutLine[];
  children: NodeLine[];
}

export const nodeLineSchema: z.ZodType<NodeLine> = z.lazy(() =>
  z.strictObject({ ...nodeFields, children: z.array(nodeLineSchema) }),
);

/** Why a tree stopped growing. */
export const treeStops = ["simulations", "tokens", "seconds", "solved", "exhausted"] as const;
export type TreeStop = (typeof treeStops)[number];

const treeLine = z.strictObject({
  version: z.literal(2),
  recordId: z.string(),
  question: z.string(),
  kind: z.enum(kindNames),
  truth: z.unknown(),
  category: z.string().nullable(),
  /** How coordinates are read; null where the images are not known (trees from elsewhere). */
  view: viewSchema.nullable(),
  /** How tool calls are written. */
  dialect: z.enum(dialectNames),
  steps: z.enum(stepKinds),
  root: nodeLineSchema,
  stop: z.enum(treeStops),
  simulations: z.int(),
  numNodes: z.int(),
  /** Rollouts and judged answers with reward ≥ 1. */
  numCorrect: z.int(),
  numCalls: z.int(),
  /** Positions read and tokens written, over all calls. */
  numTokens: z.strictObject({ prompt: z.int(), model: z.int() }),
  /** The search section that made it, `run` left out; null for trees from elsewhere. */
  settings: z.unknown(),
  seed: z.int(),
  sampler: z.string(),
  seconds: z.number(),
});
export type TreeLine = z.infer<typeof treeLine>;

export const treeLineSchema = ofVersion(2, treeLine);

/** What is not the same in a second run of the same search: how long it took. */
export function withoutClock({ seconds: _, ...tree }: TreeLine): Omit<TreeLine, "seconds"> {
  return tree;
}

/**
 * Streams the trees of a file, the torn last line of a killed run left out.
 * @throws VigorlError("input") naming `file:line` at the first bad line.
 */
export async function* readTrees(file: string): AsyncGenerator<TreeLine> {
  yield* readJsonl(file, treeLineSchema, { allowTornLastLine: true });
}

/** Walks a tree, parents before children, with the nodes above (root first, the node itself last). */
export function* walk(
  node: NodeLine,
  above: readonly NodeLine[] = [],
): Generator<readonly NodeLine[]> {
  const path = [...above, node];
  yield path;
  for (const child of node.children) yield* walk(child, path);
}

/** The steps of a path of nodes, the root's absence of one left out. */
export function stepsOf(path: readonly NodeLine[]): StepLine[] {
  return path.flatMap(({ step }) => (step === null ? [] : [step]));
}
