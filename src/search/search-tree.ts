/**
 * Monte Carlo tree search for one record: select a leaf by UCT, expand it, roll out from each new
 * child, judge the answers, backpropagate. Simulations run in waves: the leaves of a wave are chosen
 * one after the other with virtual loss, played at once, and applied in the order of choice. Every
 * draw is keyed by where in the tree it is made, so a tree depends on its settings and its seed, and
 * never on what else runs.
 * differs from the published search: answers and exhausted nodes are not simulated again, a child
 * that repeats a place or an answer is dropped, and an end without an answer is worth 0. Profiles
 * "paper" and "repo" bring back the first two.
 */
import { deriveSeed } from "../core/random.ts";
import type { Sampler } from "../engine/types.ts";
import type { EpisodeConfig } from "../task/episode-config.ts";
import { judge } from "../task/judge.ts";
import type { TaskRecord } from "../task/record.ts";
import { Meter, type ReplyFaults } from "./meter.ts";
import { requireRoom } from "../task/turn.ts";
import { repeatOf } from "./places.ts";
import { settingsOf, type SearchRules } from "./search-config.ts";
import {
  backpropagate,
  makeNode,
  nodeLine,
  pathTo,
  select,
  stepsTo,
  type Child,
  type Node,
} from "./search-node.ts";
import { openStepper, type StepState, type Stepped, type Stepper } from "./steps.ts";
import {
  correctReward,
  usedTool,
  walk,
  type DropReason,
  type RolloutLine,
  type StepLine,
  type TreeLine,
  type TreeStop,
} from "./tree-line.ts";

export interface SearchOptions {
  readonly sampler: Sampler;
  readonly record: TaskRecord;
  readonly episode: EpisodeConfig;
  readonly rules: SearchRules;
  readonly seed: number;
  readonly signal?: AbortSignal;
  /** Counts the replies that could not be used. */
  readonly faults?: ReplyFaults;
}

/**
 * Grows the tree of one record.
 * @throws VigorlError("input") when an image is missing or broken or the prompt has no room, what the
 *   sampler threw, or the signal's reason.
 */
export async function searchTree(options: SearchOptions): Promise<TreeLine> {
  const { record, episode, rules, seed, signal } = options;
  const started = performance.now();
  const meter = new Meter(options.sampler, options.faults);
  const stepper = await openStepper(record, episode, rules, seed);
  requireRoom(stepper.scene, meter);
  const top = makeNode(stepper.first);
  const game: Game = { ...options, sampler: meter, stepper };
  let simulations = 0;
  let numCorrect = 0;
  let stop: TreeStop | null = null;
  while (stop === null) {
    signal?.throwIfAborted();
    const leaves = chooseLeaves(top, rules, rules.simulations - simulations);
    if (leaves.length === 0) {
      stop = "exhausted";
      break;
    }
    const played = await Promise.all(leaves.map((leaf) => play(game, leaf)));
    for (const [i, leaf] of leaves.entries()) {
      for (const node of pathTo(leaf)) node.virtual--;
      leaf.isPending = false;
      numCorrect += apply(leaf, played[i]);
    }
    simulations += leaves.length;
    const seconds = (performance.now() - started) / 1000;
    stop = whyStop(rules, { simulations, numCorrect, seconds, tokens: meter.numTokens.model });
  }
  const line = nodeLine(top);
  return {
    version: 2,
    recordId: record.id,
    question: record.question,
    kind: record.kind,
    truth: record.answer,
    category: record.category ?? null,
    view: stepper.scene.view,
    dialect: episode.dialect.name,
    steps: rules.steps,
    root: line,
    stop,
    simulations,
    numNodes: Array.from(walk(line)).length,
    numCorrect,
    numCalls: meter.numCalls,
    numTokens: meter.numTokens,
    settings: settingsOf(rules, episode),
    seed,
    sampler: meter.capabilities.name,
    seconds: (performance.now() - started) / 1000,
  };
}

interface Game extends SearchOptions {
  readonly sampler: Meter;
  readonly stepper: Stepper;
}

/** What a simulation found out: the replies in order, and the rollouts behind those that are kept. */
interface Played {
  readonly replies: readonly { readonly stepped: Stepped; readonly drop: DropReason | null }[];
  readonly rollouts: readonly (readonly RolloutLine[])[];
}

/** Chooses the leaves of one wave and marks the way to them. */
function chooseLeaves(top: Node, rules: SearchRules, left: number): Node[] {
  const leaves: Node[] = [];
  while (leaves.length < Math.min(rules.wave, left)) {
    const leaf = select(top, rules);
    if (leaf === null) break;
    leaf.isPending = true;
    for (const node of pathTo(leaf)) node.virtual++;
    leaves.push(leaf);
  }
  return leaves;
}

/** Expands a leaf and rolls out from its children. Changes nothing in the tree. */
async function play(game: Game, leaf: Node): Promise<Played> {
  const { state } = leaf;
  if (state === null) return { replies: [], rollouts: [] };
  const { rules, seed, record } = game;
  const stepped = await inOrder(rules.children, (i) =>
    game.stepper.take(game.sampler, state, {
      ...aborted(game),
      seed: deriveSeed(seed, "child", record.id, leaf.id, leaf.attempts + i),
      force: leaf.depth >= rules.maxDepth,
    }),
  );
  const path = stepsTo(leaf);
  const siblings = leaf.children.map((child) => child.step);
  const replies = stepped.map((one) => {
    const drop = dropReason(one, path, siblings, game);
    if (drop === null) siblings.push(one.step);
    return { stepped: one, drop };
  });
  const rollouts = await inOrder(replies.length, (i) =>
    replies[i].drop === null
      ? rolloutsFrom(game, leaf, leaf.attempts + i, replies[i].stepped)
      : Promise.resolve([]),
  );
  return { replies, rollouts };
}

function dropReason(
  { step, state, end }: Stepped,
  path: readonly StepLine[],
  siblings: readonly StepLine[],
  { rules, record }: Game,
): DropReason | null {
  if (end === "badOutput") return "badReply";
  const isStep = rules.steps !== "turn" || usedTool(step);
  if (step.answer === null && (state === null || !isStep)) return "noStep";
  return repeatOf(step, path, siblings, rules, record.question);
}

async function rolloutsFrom(
  game: Game,
  leaf: Node,
  index: number,
  { step, state }: Stepped,
): Promise<RolloutLine[]> {
  const { rules } = game;
  if (state === null) {
    const { answer } = step;
    const reward = await rewardOf(game, answer);
    const rollout = { steps: [], answer, reward, end: "answered" };
    return Array.from({ length: rules.revisitTerminals ? rules.rollouts : 1 }, () => rollout);
  }
  const id = `${leaf.id}.${index}`;
  return inOrder(rules.rollouts, (r) => rollout(game, id, leaf.depth + 1, r, state));
}

/**
 * Plays on from a child until it answers; the last step there is must answer. As published
 * (`depthBound: strict`) no step lies behind `maxDepth`, so that a child there is worth nothing.
 */
async function rollout(
  game: Game,
  id: string,
  depth: number,
  index: number,
  from: StepState,
): Promise<RolloutLine> {
  const { rules, seed, record, sampler } = game;
  const steps: StepLine[] = [];
  let state = from;
  const beyond = rules.depthBound === "strict" ? 0 : 1;
  const numSteps = Math.min(rules.rolloutSteps, Math.max(0, rules.maxDepth - depth) + beyond);
  for (let i = 0; i < numSteps; i++) {
    const isLast = i === numSteps - 1;
    const stepped = await game.stepper.take(sampler, state, {
      ...aborted(game),
      seed: deriveSeed(seed, "rollout", record.id, id, index, i),
      force: isLast,
    });
    const { step, end } = stepped;
    steps.push(step);
    if (stepped.state === null || step.answer !== null)
      return { steps, answer: step.answer, reward: await rewardOf(game, step.answer), end };
    state = stepped.state;
    if (isLast) break;
  }
  return { steps, answer: null, reward: 0, end: "stepLimit" };
}

async function rewardOf({ record, rules, stepper }: Game, answer: string | null): Promise<number> {
  const { view, config } = stepper.scene;
  if (config.judge !== undefined) return config.judge(answer, record, { view });
  // The published search leaves truths in the frame of the file.
  const published = { ...view, unrounded: view.original };
  const isPublished = rules.judge === "repo";
  return judge(record, answer, { profile: rules.judge, view: isPublished ? published : view });
}

/** Puts what a simulation found into the tree; returns the number of correct answers. */
function apply(leaf: Node, { replies, rollouts }: Played): number {
  if (leaf.state === null) {
    backpropagate(leaf, leaf.value);
    return 0;
  }
  let numCorrect = 0;
  let numKept = 0;
  for (const [i, { stepped, drop }] of replies.entries()) {
    const index = leaf.attempts++;
    if (drop !== null) {
      leaf.dropped[drop] = (leaf.dropped[drop] ?? 0) + 1;
      continue;
    }
    numKept++;
    const child: Child = {
      ...makeNode(stepped.state),
      id: `${leaf.id}.${index}`,
      parent: leaf,
      depth: leaf.depth + 1,
      step: stepped.step,
      rollouts: rollouts[i],
    };
    leaf.children.push(child);
    for (const { reward } of child.rollouts) {
      backpropagate(child, reward);
      if (reward >= correctReward) numCorrect++;
    }
  }
  leaf.expansions++;
  leaf.isFruitless = numKept === 0;
  return numCorrect;
}

function whyStop(
  rules: SearchRules,
  now: { simulations: number; numCorrect: number; seconds: number; tokens: number },
): TreeStop | null {
  if (rules.stopAfterCorrect !== null && now.numCorrect >= rules.stopAfterCorrect) return "solved";
  if (now.simulations >= rules.simulations) return "simulations";
  if (rules.maxTokens !== null && now.tokens >= rules.maxTokens) return "tokens";
  if (rules.maxSeconds !== null && now.seconds >= rules.maxSeconds) return "seconds";
  return null;
}

function aborted({ signal }: Game): { signal?: AbortSignal } {
  return signal === undefined ? {} : { signal };
}

function inOrder<T>(count: number, make: (index: number) => Promise<T>): Promise<T[]> {
  return Promise.all(Array.from({ length: count }, (_, index) => make(index)));
}
