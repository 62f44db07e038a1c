/**
 * Chains by the published builder: at each node, of that node's own rollouts, every right one is a
 * direct chain and every pair of a wrong and a right one a backtracking chain, with the shared texts
 * in both halves. Nothing is filtered, so empty thoughts and stray tags come through as they do there.
 * differs: chains keep the order of the tree (the builder's order is arbitrary), and the sentence of
 * self-correction is ours.
 */
import { stream } from "../core/random.ts";
import { formatTurn } from "../text/grammar.ts";
import {
  IMAGE_TAG,
  isQuestion,
  removeTags,
  type RepoNode,
  type RepoRecord,
  type RepoRollout,
} from "./repo-trees.ts";
import { correctReward } from "./tree-line.ts";

export interface RepoChain {
  readonly kind: "direct" | "backtrack";
  /** The assistant's whole message. */
  readonly text: string;
  readonly answer: string;
}

/** Beyond this many the builder samples. */
export const maxRepoChains = 10_000;

/** The chains of a tree, each text once. */
export function repoChains(record: RepoRecord, correction: string, seed = 42): RepoChain[] {
  const chains = new Map<string, RepoChain>();
  for (const chain of chainsBelow(record.tree, correction))
    if (!chains.has(chain.text)) chains.set(chain.text, chain);
  const all = [...chains.values()];
  const kept =
    all.length <= maxRepoChains
      ? all
      : stream(seed, "chains", record.id).shuffle(all).slice(0, maxRepoChains);
  return kept.map((chain) => ({ ...chain, text: withoutImageTags(chain.text) }));
}

function withoutImageTags(text: string): string {
  return text.replaceAll(IMAGE_TAG, "").replaceAll("</image>", "");
}

function* chainsBelow(node: RepoNode, correction: string): Generator<RepoChain> {
  const right = node.rollouts.filter(isRight).map(spoken);
  const wrong = node.rollouts.filter((rollout) => !isRight(rollout)).map(spoken);
  for (const detour of wrong) {
    for (const way of right) {
      const think = `${detour.think}\n${correction}\n${way.think}`;
      yield chainOf("backtrack", think, way.answer);
    }
  }
  for (const way of right) yield chainOf("direct", way.think, way.answer);
  if (!node.is_terminal) for (const child of node.children) yield* chainsBelow(child, correction);
}

function isRight({ reward }: RepoRollout): boolean {
  return reward >= correctReward;
}

/** A rollout's thoughts in one line, and its last text as the answer. */
function spoken({ ephemeral_texts: texts }: RepoRollout): { think: string; answer: string } {
  const told = isQuestion(texts[0] ?? "") ? texts.slice(1) : texts;
  const thoughts = told.slice(0, -1).map((text) => removeTags(text, ["think", "answer"]).trim());
  return { think: thoughts.join(" "), answer: removeTags(told.at(-1) ?? "", ["answer"]).trim() };
}

function chainOf(kind: RepoChain["kind"], think: string, answer: string): RepoChain {
  return { kind, text: formatTurn({ think, answer }, "block"), answer };
}
