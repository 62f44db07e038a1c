/**
 * Notices that a run learns nothing: steps in which no episode is better or worse than the others of
 * its group. Says what was asked, what was replied and what usually is behind it.
 */
import { VigorlError } from "../core/errors.ts";
import { hasGradient, type Selection } from "./batch.ts";
import { statusOf, type ScoredEpisode } from "./rollouts.ts";

const MAX_REPLIES = 3;
const MAX_LENGTH = 200;

export class IdleWatch {
  private readonly section: string;
  private readonly maxSteps: number;
  private idleSteps = 0;
  /** Steps of this process from which something could be learned. */
  private learnedSteps = 0;
  private last: readonly ScoredEpisode[] = [];

  constructor(section: string, maxSteps: number) {
    this.section = section;
    this.maxSteps = maxSteps;
  }

  /**
   * Counts a step. Throws VigorlError("input") where it is the last of `maxSteps` in a row from which
   * there was nothing to learn.
   */
  note(step: number, scored: readonly ScoredEpisode[], { episodes_N }: Selection): void {
    this.last = scored;
    if (episodes_N.some((one) => hasGradient(one, { klCoef: 0 }))) {
      this.idleSteps = 0;
      this.learnedSteps++;
      return;
    }
    if (++this.idleSteps < this.maxSteps) return;
    const steps = this.idleSteps === 1 ? "1 step" : `${this.idleSteps} steps in a row`;
    this.stop(`step ${step}: nothing to learn from for ${steps}`);
  }

  /**
   * Throws VigorlError("input") where a run has ended without an optimizer step, or one that was played
   * whole in this process without a step to learn from (a KL alone takes optimizer steps too).
   */
  requireSome(numUpdates: number, isWhole: boolean): void {
    if (numUpdates === 0 || (isWhole && this.learnedSteps === 0))
      this.stop("the run is over and nothing was learned");
  }

  private stop(problem: string): never {
    throw new VigorlError("input", `${this.section}: ${problem}\n${describeReplies(this.last)}`, {
      hint: causeOf(this.last),
    });
  }
}

/** The question of the first episode and up to three different replies, each with its end and reward. */
export function describeReplies(scored: readonly ScoredEpisode[]): string {
  const [first] = scored;
  if (first === undefined) return "there were no episodes";
  const others = scored.filter(({ record }) => record.id === first.record.id);
  const replies = new Map(others.map((one) => [one.episode.response, one]));
  const lines = [...replies.values()].slice(0, MAX_REPLIES).map(({ episode, reward }) => {
    const said = episode.error ?? shorten(episode.response);
    return `  reply: ${said} (${episode.stopReason}, reward ${reward.total})`;
  });
  return [`  asked: ${shorten(first.record.question)} (${first.record.id})`, ...lines].join("\n");
}

/** What is likely behind rewards that are all the same. */
function causeOf(scored: readonly ScoredEpisode[]): string {
  const share = (is: (one: ScoredEpisode) => boolean) =>
    scored.filter(is).length / Math.max(1, scored.length);
  if (share(({ episode }) => statusOf(episode) === "cutOff") > 0.5)
    return "most episodes are cut off: raise episode.maxTokensPerTurn, or warm the model up with sft";
  if (share(({ episode }) => !episode.wellFormed) > 0.5)
    return "most replies are not in the form that is asked for: warm the model up with sft, or look at prompts.style";
  if (share(({ reward }) => reward.accuracy > 0) === 0)
    return "no answer is right: take easier questions, warm the model up with sft, or see whether the true answers are written as the question asks for them (./vigorl data show)";
  if (share(({ reward }) => reward.accuracy >= 1) > 0.5)
    return "most answers are right already: take harder questions";
  return "no reply of a group is better than another: raise rl.groupSize or rl.temperature, or take easier questions";
}

function shorten(text: string): string {
  const line = JSON.stringify(text);
  return line.length <= MAX_LENGTH ? line : `${line.slice(0, MAX_LENGTH)}…`;
}
