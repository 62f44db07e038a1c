/**
 * Supervised fine-tuning: cross-entropy on what an assistant wrote, and on nothing else. Which
 * tokens those are is read off the example, never searched for in the ids. Every assistant turn of
 * a dialogue is trained. Left out: packing by hand; the engine sorts by length itself.
 *
 * Axes: N examples, T positions.
 */
import { VigorlError } from "../core/errors.ts";
import { stream } from "../core/random.ts";
import { checkDatum } from "../engine/losses/table.ts";
import { numPositions, type Datum } from "../engine/types.ts";
import { episodeToDatum, type Transcript } from "../task/trajectory.ts";
import { aggregationWeights } from "./aggregation.ts";
import { numTrained } from "./batch.ts";
import { runSteps, type LoopOptions, type LoopResult } from "./loop.ts";
import { entropyOf, PhaseClock } from "./metrics.ts";
import { optimParams, requireSomeRate } from "./optimizer.ts";
import type { SftConfig } from "./sft-config.ts";

export interface SftOptions extends Pick<
  LoopOptions,
  "learner" | "run" | "resume" | "signal" | "validation" | "onStep" | "files"
> {
  readonly examples: readonly Transcript[];
  readonly config: SftConfig;
  readonly seed: number;
}

export interface SftResult extends LoopResult {
  /** Examples left out because they have more than `maxTokens` positions. */
  readonly numTooLong: number;
}

/** Trains on the examples and leaves a checkpoint. Throws VigorlError("numerics" | "interrupted"). */
export async function trainSft(options: SftOptions): Promise<SftResult> {
  const { learner, config, seed } = options;
  const all = options.examples.map(toLesson);
  const examples = all.filter(({ chunks }) => numPositions(chunks) <= config.maxTokens);
  const numTooLong = all.length - examples.length;
  if (examples.length === 0) {
    throw new VigorlError("input", `sft: no example is left (${numTooLong} are too long)`, {
      hint: "give it examples, or raise sft.maxTokens",
    });
  }
  const stepsPerEpoch = Math.ceil(examples.length / config.batchSize);
  const totalSteps = config.epochs * stepsPerEpoch;
  requireSomeRate("sft", config, totalSteps);

  const result = await runSteps(
    { ...options, ...config, verb: "sft", totalSteps },
    async (step) => {
      const clock = new PhaseClock();
      const batch = batchOf(examples, step - 1, stepsPerEpoch, config.batchSize, seed);
      const data = sftData(batch, config.aggregation);
      const params = optimParams(config, step - 1, totalSteps);
      const { output, optim } = await clock.measure("learn", async () => ({
        output: await learner.forwardBackward(data, { kind: "crossEntropy" }),
        optim: await learner.optimStep(params),
      }));
      requireFinite(output.loss, step);
      const positions = batch.reduce((sum, { weights }) => sum + weights.length, 0);
      const masks = batch.map(({ weights }) => weights);
      const seconds = clock.seconds("learn");
      const metrics = {
        step,
        loss: output.loss,
        ...entropyOf(output.outputs, masks),
        ...(optim.gradNorm === undefined ? {} : { gradNorm: optim.gradNorm }),
        learningRate: params.learningRate,
        epoch: step / stepsPerEpoch,
        trainedEpisodes: batch.length,
        trainedTokens: batch.reduce((sum, datum) => sum + numTrained(datum), 0),
        "tokensPerSecond/learn": positions / seconds,
        "seconds/learn": seconds,
      };
      return { metrics, updates: 1 };
    },
  );
  return { ...result, numTooLong };
}

/** The datum of an example, weight 1 where the assistant speaks. Throws VigorlError("numerics"). */
function toLesson(example: Transcript): Datum {
  const { chunks, weights } = episodeToDatum(example);
  checkDatum({ chunks, weights }, example.id, numPositions(chunks));
  return { chunks, weights };
}

/** Data of one batch, weighed. */
function sftData(batch: readonly Datum[], aggregation: SftConfig["aggregation"]): Datum[] {
  const weights_N = aggregationWeights(
    batch.map(({ weights }) => weights),
    { kind: aggregation },
  );
  return batch.map((datum, n) => ({ ...datum, weights: weights_N[n] }));
}

/** Stops a run whose loss is not a number. */
export function requireFinite(loss: number, step: number): void {
  if (Number.isFinite(loss)) return;
  throw new VigorlError("numerics", `step ${step}: the loss is ${loss}`, {
    hint: "lower the learning rate or the gradient norm bound; --resume goes on from before",
  });
}

/** Batch `index` (from 0): each epoch is its own shuffle, and its last batch may be smaller. */
function batchOf(
  examples: readonly Datum[],
  index: number,
  stepsPerEpoch: number,
  batchSize: number,
  seed: number,
): Datum[] {
  const epoch = Math.floor(index / stepsPerEpoch);
  const start = (index % stepsPerEpoch) * batchSize;
  const order = stream(seed, "sft", epoch).shuffle(examples);
  return order.slice(start, start + batchSize);
}
