/**
 * A finished tree as one line of `trees.jsonl`: plain data, no pixels. It holds what every step said
 * and saw, the statistics of the search, and everything it depended on: settings, seed, limits.
 */
import { z } from "zod";
import { readJsonl } from "../core/jsonl.ts";
import { kindNames } from "../task/kinds.ts";

const size = z.strictObject({ widthPx: z.int(), heightPx: z.int() });
const place = z.tuple([z.number(), z.number()]);

/** One grounded step: a turn, a think block, or an answer. */
export const stepLineSchema = z.strictObject({
  /** What the assistant said in it, tags included, a forced opening too. */
  text: z.string(),
  /** Its thoughts, without tags. */
  think: z.string(),
  /** Points of its thoughts: pixels of the first image as the model sees it. */
  points: z.array(place),
  /** The crop it asked for: the place, the box in original pixels, the picture by hash. */
  zoom: z
    .strictObject({
      at: place,
      boxOriginal: z.tuple([z.number(), z.number(), z.number(), z.number()]),
      outputSize: size,
      imageHash: z.string(),
    })
    .nullable(),
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

/** Reward from which an answer counts as correct. */
export const correctReward = 1;

/** Why sampled children are not in the tree. */
export const dropReasons = ["samePlace", "sameText", "sameAnswer", "noStep"] as const;
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

export const treeLineSchema = z.strictObject({
  version: z.literal(1),
  recordId: z.string(),
  question: z.string(),
  kind: z.enum(kindNames),
  truth: z.unknown(),
  category: z.string().nullable(),
  /** How coordinates are read; null where the images are not known (trees from elsewhere). */
  view: z
    .strictObject({
      original: size,
      resized: size,
      coordinates: z.enum(["resized", "relative"]),
    })
    .nullable(),
  steps: z.enum(["zoom", "thought", "packed"]),
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
export type TreeLine = z.infer<typeof treeLineSchema>;

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
