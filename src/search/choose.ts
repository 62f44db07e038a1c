/**
 * Which of the good chains are kept: at most so many of one record, evenly over records and, on
 * request, over categories or answers, with a bound on the share of backtracking chains. The same
 * seed and chains give the same choice, in the same order.
 */
import { stream } from "../core/random.ts";
import { groupBy, roundRobin } from "../core/round-robin.ts";
import type { Chain } from "./chains.ts";
import type { LinearizeConfig } from "./linearize-config.ts";

/** The indices that are kept, in the order of the chains. */
export function chooseChains(
  chains: readonly Chain[],
  rules: LinearizeConfig["choose"],
  seed: number,
): Set<number> {
  const byRecord = groupBy(
    chains.map((_, i) => i),
    (i) => chains[i].recordId,
  );
  const groups = groupBy([...byRecord.values()], ([first]) =>
    groupOf(chains[first], rules.balance),
  );
  const queues = [...groups.values()].map((records) =>
    roundRobin(records.map((indices) => someOf(indices, chains, rules, seed))),
  );
  const order = roundRobin(queues);
  const share = rules.backtrackShare;
  const total = Math.min(rules.maxChains ?? Infinity, order.length);
  if (share === null) return new Set(order.slice(0, total));
  const direct = order.filter((i) => chains[i].kind === "direct");
  const backtrack = order.filter((i) => chains[i].kind === "backtrack");
  const besideAll = share < 1 ? Math.floor((direct.length * share) / (1 - share)) : Infinity;
  const numBacktrack = Math.min(backtrack.length, Math.floor(total * share), besideAll);
  return new Set([...direct.slice(0, total - numBacktrack), ...backtrack.slice(0, numBacktrack)]);
}

/** The chains of one record that may be kept: both kinds in turn, each in a shuffled order. */
function someOf(
  indices: readonly number[],
  chains: readonly Chain[],
  rules: LinearizeConfig["choose"],
  seed: number,
): number[] {
  const { recordId } = chains[indices[0]];
  const kinds = groupBy(indices, (i) => chains[i].kind);
  const shuffled = [...kinds].map(([kind, list]) =>
    stream(seed, "choose", recordId, kind).shuffle(list),
  );
  return roundRobin(shuffled).slice(0, rules.maxPerTree);
}

function groupOf(chain: Chain, balance: LinearizeConfig["choose"]["balance"]): string {
  if (balance === "none") return "";
  return balance === "category" ? (chain.category ?? "") : chain.answer;
}
