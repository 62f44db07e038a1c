/**
 * Chains by the published builder: at each node, of that node's own rollouts, every right one is a
 * direct chain and every pair of a wrong and a right one a backtracking chain, with the shared texts
 * in both halves. Nothing is filtered, so empty thoughts and stray tags come through as they do there.
 * differs: chains keep the order of the tree (the builder's order is arbitrary), and the sentence of
 * self-correction is ours.
 */
import { stream } from "../core/random.ts";
import { formatTurn } from "../text/grammar.ts";
import { pythonStrip } from "../text/python.ts";
import { IMAGE_TAG, removeTags } from "./repo-trees.ts";
import {
  correctReward,
  stepsOf,
  walk,
  type NodeLine,
  type RolloutLine,
  type StepLine,
  type TreeLine,
} from "./tree-line.ts";

export interface RepoChain {
  readonly kind: "direct" | "backtrack";
  /** The assistant's whole message. */
  readonly text: string;
  readonly answer: string;
}

/** Beyond this many the builder samples. */
export const maxRepoChains = 10_000;

/** The chains of a tree, each text once. */
export function repoChains(tree: TreeLine, correction: string, seed = 42): RepoChain[] {
  const chains = new Map<string, RepoChain>();
  for (const path of walk(tree.root)) {
    if (path.slice(0, -1).some(isTerminal)) continue;
    for (const chain of chainsAt(path, correction))
      if (!chains.has(chain.text)) chains.set(chain.text, chain);
  }
  const all = [...chains.values()];
  const kept =
    all.length <= maxRepoChains
      ? all
      : stream(seed, "chains", tree.recordId).shuffle(all).slice(0, maxRepoChains);
  return kept.map((chain) => ({ ...chain, text: withoutImageTags(chain.text) }));
}

/** Closing tags go only where there is an opening one, as in the builder. */
function withoutImageTags(text: string): string {
  if (!text.includes(IMAGE_TAG)) return text;
  return text.replaceAll(IMAGE_TAG, "").replaceAll("</image>", "");
}

function* chainsAt(path: readonly NodeLine[], correction: string): Generator<RepoChain> {
  const { rollouts } = path[path.length - 1];
  const above = stepsOf(path);
  const right = rollouts.filter(isRight).map((rollout) => spoken(above, rollout));
  const wrong = rollouts
    .filter((rollout) => !isRight(rollout))
    .map((rollout) => spoken(above, rollout));
  for (const detour of wrong) {
    for (const way of right) {
      const think = `${detour.think}\n${correction}\n${way.think}`;
      yield chainOf("backtrack", think, way.answer);
    }
  }
  for (const way of right) yield chainOf("direct", way.think, way.answer);
}

function isRight({ reward }: RolloutLine): boolean {
  return reward >= correctReward;
}

function isTerminal({ step }: NodeLine): boolean {
  return step !== null && step.answer !== null;
}

/** The thoughts on the way to a node and behind it in one line, and the last text as the answer. */
function spoken(
  above: readonly StepLine[],
  { steps }: RolloutLine,
): { think: string; answer: string } {
  // Of an answering step the published files keep the answer alone.
  const texts = [...above, ...steps].map(({ text, answer }) => answer ?? text);
  const thoughts = texts
    .slice(0, -1)
    .map((text) => pythonStrip(removeTags(text, ["think", "answer"])));
  const last = steps.at(-1) ?? above.at(-1);
  const answer = last?.answer ?? pythonStrip(removeTags(last?.text ?? "", ["answer"]));
  return { think: thoughts.join(" "), answer };
}

function chainOf(kind: RepoChain["kind"], think: string, answer: string): RepoChain {
  return { kind, text: formatTurn({ think, answer }, "block"), answer };
}
