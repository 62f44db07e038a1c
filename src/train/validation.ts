/**
 * How good the weights are on questions that are not trained on, in the middle of training. What was
 * best is read off the run's own metrics, so that a resumed run knows what one never stopped knows.
 */
import { existsSync } from "node:fs";
import { z } from "zod";
import { VigorlError } from "../core/errors.ts";
import { readJsonlAll } from "../core/jsonl.ts";
import type { RunFolder } from "../core/run-folder.ts";
import type { Sampler } from "../engine/types.ts";
import type { EpisodeConfig } from "../task/episode-config.ts";
import type { TaskRecord } from "../task/record.ts";
import type { RewardConfig } from "../task/reward.ts";
import { meanOf, type Metrics } from "./metrics.ts";
import { sampleGroups } from "./rollouts.ts";
import type { ValidateConfig } from "./validate-config.ts";

export interface Validation {
  readonly records: readonly TaskRecord[];
  readonly episode: EpisodeConfig;
  readonly reward: RewardConfig;
  readonly config: ValidateConfig;
  readonly seed: number;
}

/** The best validation so far, and how many in a row came after it. */
export interface Best {
  readonly step: number;
  readonly accuracy: number;
  readonly numSince: number;
}

/** Plays one episode a question with the present weights. @throws VigorlError("input") where none could be asked */
export async function validate(
  sampler: Sampler,
  validation: Validation,
): Promise<Partial<Metrics>> {
  const { config, episode, reward, seed } = validation;
  const started = performance.now();
  const sampling = { temperature: config.temperature, topP: 1, topK: 0, endOfTurn: true };
  const groups = await sampleGroups(validation.records.slice(0, config.records), {
    sampler,
    episode: { ...episode, sampling },
    reward,
    groupSize: 1,
    concurrency: config.concurrency,
    seed,
    key: ["validate"],
  });
  const scored = groups.flat();
  if (scored.every((one) => one.episode.error !== null))
    throw new VigorlError("input", "validation: every episode failed", {
      hint: `the first says: ${scored[0]?.episode.error ?? "there are no questions"}`,
    });
  return {
    "validation/accuracy": meanOf(scored.map((one) => one.reward.accuracy)),
    "validation/reward": meanOf(scored.map((one) => one.reward.total)),
    "seconds/validate": (performance.now() - started) / 1000,
  };
}

/** What a further validation makes of the best; a tie is not better. */
export function better(best: Best | null, step: number, accuracy: number): Best {
  if (best === null || accuracy > best.accuracy) return { step, accuracy, numSince: 0 };
  return { ...best, numSince: best.numSince + 1 };
}

/** The best of the validations that a run has logged; null where there are none. */
export async function loggedBest(run: RunFolder): Promise<Best | null> {
  const file = run.file("metrics.jsonl");
  if (!existsSync(file)) return null;
  let best: Best | null = null;
  for (const row of await readJsonlAll(file, rowSchema)) {
    const accuracy = row["validation/accuracy"];
    if (accuracy !== undefined) best = better(best, row.step, accuracy);
  }
  return best;
}

const rowSchema = z.looseObject({ step: z.number(), "validation/accuracy": z.number().optional() });
