/**
 * Supervised fine-tuning: cross-entropy on what an assistant wrote, and on nothing else. Which
 * tokens those are is read off the example, never searched for in the ids. Every assistant turn of
 * a dialogue is trained. Left out: packing by hand; the engine sorts by length itself.
 *
 * Axes: N examples, T positions.
 */
import { VigorlError } from "../core/errors.ts";
import { stream } from "../core/random.ts";
import { numPositions, type Chunk, type Datum } from "../engine/types.ts";
import { aggregationWeights } from "./aggregation.ts";
import { checkDatum } from "./batch.ts";
import { runSteps, type LoopOptions, type LoopResult } from "./loop.ts";
import { maskedMean, PhaseClock } from "./metrics.ts";
import { optimParams } from "./optimiser.ts";
import type { SftConfig } from "./sft-config.ts";

export interface SftExample {
  readonly id: string;
  /** For balance and reports; "" where there is none. */
  readonly category: string;
  readonly chunks: readonly Chunk[];
  /** Over positions: 1 where the assistant wrote the token. */
  readonly mask_T: Float32Array;
}

export interface SftOptions extends Pick<
  LoopOptions,
  "learner" | "run" | "resume" | "signal" | "onStep"
> {
  readonly examples: readonly SftExample[];
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
  const examples = options.examples.filter(
    ({ chunks }) => numPositions(chunks) <= config.maxTokens,
  );
  const numTooLong = options.examples.length - examples.length;
  if (examples.length === 0) {
    throw new VigorlError("input", `sft: no example is left (${numTooLong} are too long)`, {
      hint: "give it examples, or raise sft.maxTokens",
    });
  }
  const stepsPerEpoch = Math.ceil(examples.length / config.batchSize);
  const totalSteps = config.epochs * stepsPerEpoch;

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
      const positions = batch.reduce((sum, example) => sum + example.mask_T.length, 0);
      const masks = batch.map((example) => example.mask_T);
      const seconds = clock.seconds("learn");
      const metrics = {
        step,
        loss: output.loss,
        entropy: maskedMean(
          output.outputs.map((each) => each.entropy),
          masks,
        ),
        gradNorm: optim.gradNorm,
        learningRate: params.learningRate,
        epoch: step / stepsPerEpoch,
        trainedEpisodes: batch.length,
        trainedTokens: masks.reduce(
          (sum, mask_T) => sum + mask_T.filter((one) => one !== 0).length,
          0,
        ),
        "tokensPerSecond/learn": positions / seconds,
        "seconds/learn": seconds,
      };
      return { metrics, updates: 1 };
    },
  );
  return { ...result, numTooLong };
}

/** Data of one batch: weights 0 outside the mask. Throws VigorlError("numerics"). */
export function sftData(
  batch: readonly SftExample[],
  aggregation: SftConfig["aggregation"],
): Datum[] {
  const weights_N = aggregationWeights(
    batch.map((example) => example.mask_T),
    { kind: aggregation },
  );
  return batch.map(({ id, chunks }, n) => {
    const datum = { chunks, weights: weights_N[n] };
    checkDatum(datum, id);
    return datum;
  });
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
  examples: readonly SftExample[],
  index: number,
  stepsPerEpoch: number,
  batchSize: number,
  seed: number,
): SftExample[] {
  const epoch = Math.floor(index / stepsPerEpoch);
  const start = (index % stepsPerEpoch) * batchSize;
  const order = stream(seed, "sft", epoch).shuffle(examples);
  return order.slice(start, start + batchSize);
}
