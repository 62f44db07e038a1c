/**
 * Scores replies that are there already, under any protocol, without a model. Pure: the same reply to
 * the same record gives the same verdict, wherever the reply came from.
 */
import type { TaskRecord } from "../../task/record.ts";
import type { Trajectory } from "../../task/trajectory.ts";
import type { Benchmark, Figure, Reply, Scored, Verdict } from "./benchmark.ts";
import { protocolOf } from "./table.ts";

/** One reply under one protocol. @throws VigorlError("usage") for a protocol that is none */
export function score(
  benchmark: Benchmark,
  protocol: string,
  record: TaskRecord,
  reply: Reply,
): Verdict {
  return protocolOf(benchmark, protocol).judge(record, reply);
}

/** What a set of verdicts comes to, the headline first. */
export function figuresOf(
  benchmark: Benchmark,
  protocol: string,
  scored: readonly Scored[],
): Figure[] {
  return protocolOf(benchmark, protocol).figures(scored);
}

/** What a judge gets of an episode. */
export function replyOf({
  turns,
  answer,
  view,
}: Pick<Trajectory, "turns" | "answer" | "view">): Reply {
  return { text: turns.at(-1)?.text ?? "", answer, view };
}
