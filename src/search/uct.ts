/**
 * Upper confidence bounds for trees (UCT), in both published forms. The paper writes Q + c·√(ln N / n);
 * its repository computes value + c·√(ln(N + 1) / (n + 1)).
 */

export type ScoreForm = "paper" | "repo";

export interface VisitCount {
  /** Mean reward of the simulations that went through. */
  readonly value: number;
  readonly visits: number;
  /** Simulations on their way, counted as visits that brought 0 ("virtual loss"). */
  readonly virtual: number;
}

/**
 * The bound of a child under a parent with `parentVisits`, those on their way included. A child that
 * nobody visited comes first under "paper" (∞); under "repo" it has a finite bound.
 */
export function uctScore(
  form: ScoreForm,
  child: VisitCount,
  parentVisits: number,
  exploration: number,
): number {
  const visits = child.visits + child.virtual;
  const value = visits === 0 ? 0 : (child.value * child.visits) / visits;
  if (form === "repo")
    return value + exploration * Math.sqrt(Math.log(parentVisits + 1) / (visits + 1));
  if (visits === 0) return Infinity;
  return value + exploration * Math.sqrt(Math.log(parentVisits) / visits);
}

/** The child with the highest bound, the first of equals; undefined without children. */
export function bestChild<T extends VisitCount>(
  form: ScoreForm,
  parent: VisitCount,
  children: readonly T[],
  exploration: number,
): T | undefined {
  const parentVisits = parent.visits + parent.virtual;
  let best: T | undefined;
  let bestScore = -Infinity;
  for (const child of children) {
    const score = uctScore(form, child, parentVisits, exploration);
    if (best === undefined || score > bestScore) [best, bestScore] = [child, score];
  }
  return best;
}
