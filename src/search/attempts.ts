/**
 * All ways through a tree that end with an answer, as lists of steps from the question on. Ways that
 * share a beginning share the identities of those steps, so that it can be found and not be repeated.
 */
import { correctReward, stepsOf, walk, type StepLine, type TreeLine } from "./tree-line.ts";

export interface Attempt {
  readonly steps: readonly StepLine[];
  /** One a step: a node's id, or a place in a rollout. */
  readonly ids: readonly string[];
  readonly answer: string;
  readonly isCorrect: boolean;
}

/** The attempts of a tree, in the order of its nodes; an answer judged twice comes once. */
export function attemptsOf(tree: TreeLine): Attempt[] {
  const out: Attempt[] = [];
  for (const path of walk(tree.root)) {
    const node = path[path.length - 1];
    const above = path.slice(1).map(({ id }) => id);
    const rollouts = node.step?.answer == null ? node.rollouts : node.rollouts.slice(0, 1);
    for (const [r, { steps, answer, reward }] of rollouts.entries()) {
      if (answer === null) continue;
      out.push({
        steps: [...stepsOf(path), ...steps],
        ids: [...above, ...steps.map((_, i) => `${node.id}/${r}/${i}`)],
        answer,
        isCorrect: reward >= correctReward,
      });
    }
  }
  return out;
}

/** How many steps two attempts have in common at their beginning. */
export function numShared(a: Attempt, b: Attempt): number {
  let shared = 0;
  while (shared < a.ids.length && a.ids[shared] === b.ids[shared]) shared++;
  return shared;
}
