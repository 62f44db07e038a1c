/** The live nodes of a tree while it grows: statistics, what may still be expanded, selection. */
import type { SearchRules } from "./search-config.ts";
import type { StepState } from "./steps.ts";
import type { DropReason, NodeLine, RolloutLine, StepLine } from "./tree-line.ts";
import { bestChild } from "./uct.ts";

export interface Node {
  readonly id: string;
  readonly parent: Node | null;
  readonly depth: number;
  /** Null at the root. */
  readonly step: StepLine | null;
  /** Null at an answer: nothing comes behind it. */
  readonly state: StepState | null;
  readonly rollouts: readonly RolloutLine[];
  readonly children: Child[];
  readonly dropped: Partial<Record<DropReason, number>>;
  visits: number;
  value: number;
  /** Simulations on their way through here. */
  virtual: number;
  expansions: number;
  /** Replies sampled so far, dropped ones too: the next one's index. */
  attempts: number;
  /** It is being expanded. */
  isPending: boolean;
  /** The last expansion brought no child. */
  isFruitless: boolean;
}

export type Child = Node & { readonly step: StepLine };

/** A node without anything above or below it. */
export function makeNode(state: StepState | null): Node {
  return {
    id: "r",
    parent: null,
    depth: 0,
    step: null,
    state,
    rollouts: [],
    children: [],
    dropped: {},
    visits: 0,
    value: 0,
    virtual: 0,
    expansions: 0,
    attempts: 0,
    isPending: false,
    isFruitless: false,
  };
}

/** The leaf that the next simulation starts from; null where there is none (now). */
export function select(root: Node, rules: SearchRules): Node | null {
  return rules.revisitTerminals ? selectAsPublished(root, rules) : selectOpen(root, rules);
}

/** The nodes from the root to `node`, both included. */
export function pathTo(node: Node): Node[] {
  const path: Node[] = [];
  for (let at: Node | null = node; at !== null; at = at.parent) path.unshift(at);
  return path;
}

export function stepsTo(node: Node): StepLine[] {
  return pathTo(node).flatMap(({ step }) => (step === null ? [] : [step]));
}

/** Adds one reward to a node and to all above it. */
export function backpropagate(node: Node, reward: number): void {
  for (let at: Node | null = node; at !== null; at = at.parent) {
    at.visits++;
    at.value += (reward - at.value) / at.visits;
  }
}

/** Whether no simulation can bring anything new below a node. */
export function isExhausted(node: Node, rules: SearchRules): boolean {
  if (node.state === null) return true;
  return isSpent(node, rules) && node.children.every((child) => isExhausted(child, rules));
}

export function nodeLine(node: Node): NodeLine {
  const { id, step, visits, value, expansions, dropped, rollouts, children } = node;
  return {
    id,
    step,
    visits,
    value,
    expansions,
    dropped,
    rollouts: [...rollouts],
    children: children.map(nodeLine),
  };
}

/** Goes down by UCT among children below which something is left, to a node that may be expanded. */
function selectOpen(root: Node, rules: SearchRules): Node | null {
  for (let node = root; ;) {
    if (mayExpand(node, rules)) return node;
    const open = node.children.filter((child) => canSelect(child, rules));
    const best = bestChild(rules.score, node, open, rules.exploration);
    if (best === undefined) return null;
    node = best;
  }
}

function canSelect(node: Node, rules: SearchRules): boolean {
  return mayExpand(node, rules) || node.children.some((child) => canSelect(child, rules));
}

/**
 * A node is expanded again when it was visited often ("progressive widening"), or once all below it
 * is exhausted: three replies may have missed what a fourth would say.
 */
function mayExpand(node: Node, rules: SearchRules): boolean {
  if (node.state === null || node.isPending || isSpent(node, rules)) return false;
  if (node.visits >= rules.widenVisits * node.expansions ** 2) return true;
  return node.children.every((child) => isExhausted(child, rules));
}

/** The root is tried to the end; another node that brought no child once is left alone. */
function isSpent(node: Node, rules: SearchRules): boolean {
  return node.expansions >= rules.expansions || (node.isFruitless && node.parent !== null);
}

/** The published rule: down to an answer, a childless node, or one with a child never visited. */
function selectAsPublished(root: Node, rules: SearchRules): Node | null {
  for (let node = root; ;) {
    const isLeaf = node.state === null || node.children.some((child) => child.visits === 0);
    const best = isLeaf
      ? undefined
      : bestChild(rules.score, node, node.children, rules.exploration);
    if (best === undefined) return node.isPending ? null : node;
    node = best;
  }
}
