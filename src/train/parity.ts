/**
 * The parity gate: proof, before anything is learned, that the learner sees what the sampler saw.
 * 1. The images are the same, by the hash of their pixels, in the same order.
 * 2. Each image stands at its placeholder: as many positions as its grid has tokens, between
 *    `<|vision_start|>` and `<|vision_end|>`.
 * 3. |log p(sampler) − log p(learner)| is small with the images.
 * 4. It is large without them: the learner looks at the pixels at all.
 * A failure names the episode and stops the run.
 *
 * Axes: N episodes, T positions.
 */
import { VigorlError } from "../core/errors.ts";
import type { Datum, DatumOutput, Learner } from "../engine/types.ts";
import { imageHash, type ModelImage } from "../image/model-image.ts";
import type { MetricName } from "./metrics.ts";
import type { RlConfig } from "./rl-config.ts";

/** What the sampler saw and said, written down while the episode ran. */
export interface ParityRecord {
  readonly id: string;
  /** Hashes of its images in the order in which the model saw them. */
  readonly imageHashes: readonly string[];
  /** 1 where the model chose the token. */
  readonly mask_T: Float32Array;
  readonly logprobs_T: Float32Array;
}

/** Token ids around an image, and how many patches a side become one token. */
export interface Placeholders {
  readonly visionStartId: number;
  readonly visionEndId: number;
  readonly mergeSize: number;
}

export interface Gap {
  /** Over the trained tokens of one episode, in nats; 0 where it has none. */
  readonly mean: number;
  readonly max: number;
  readonly numTokens: number;
}

type ParityConfig = RlConfig["parity"];
type ParityNumbers = Partial<Record<Extract<MetricName, `parity/${string}`>, number>>;

/**
 * Checks 1 and 2 on the very data that the learner will get. Returns how many different images
 * were hashed. Throws VigorlError("numerics") naming the episode.
 */
export function checkImages(
  records_N: readonly ParityRecord[],
  data_N: readonly Datum[],
  placeholders: Placeholders,
): number {
  const hashes = new Map<ModelImage, string>();
  const hashOf = (image: ModelImage): string => {
    const known = hashes.get(image) ?? imageHash(image);
    hashes.set(image, known);
    return known;
  };
  data_N.forEach(({ chunks }, n) => {
    const { id, imageHashes } = records_N[n];
    const images = chunks.flatMap((chunk) => (chunk.type === "image" ? [chunk.image] : []));
    if (images.length !== imageHashes.length) {
      stop(id, `the sampler saw ${imageHashes.length} images, the learner gets ${images.length}`);
    }
    images.forEach((image, i) => {
      checkGrid(image, id, i, placeholders.mergeSize);
      if (hashOf(image) !== imageHashes[i]) {
        const seen = imageHashes.indexOf(hashOf(image));
        const what = seen < 0 ? "other pixels" : `image ${seen + 1}`;
        stop(id, `in the place of image ${i + 1} the learner gets ${what}`);
      }
    });
    chunks.forEach((chunk, i) => {
      if (chunk.type !== "image") return;
      const before = chunks[i - 1];
      const after = chunks[i + 1];
      const opened = before?.type === "text" && before.tokens.at(-1) === placeholders.visionStartId;
      const closed = after?.type === "text" && after.tokens[0] === placeholders.visionEndId;
      if (!opened || !closed)
        stop(id, `chunk ${i + 1}, an image, does not stand at its placeholder`);
    });
  });
  return hashes.size;
}

/** Distance between what the sampler and the learner say of the trained tokens of each episode. */
export function gapsOf(
  records_N: readonly ParityRecord[],
  learner_N_T: readonly ArrayLike<number>[],
): Gap[] {
  return records_N.map(({ id, mask_T, logprobs_T }, n) => {
    if (learner_N_T[n].length !== mask_T.length) {
      stop(id, `the learner speaks of ${learner_N_T[n].length} positions, not ${mask_T.length}`);
    }
    let sum = 0;
    let max = 0;
    let numTokens = 0;
    for (let t = 0; t < mask_T.length; t++) {
      if (mask_T[t] === 0) continue;
      const gap = Math.abs(logprobs_T[t] - learner_N_T[n][t]);
      if (!Number.isFinite(gap))
        stop(id, `the learner's log-probability of position ${t} is ${learner_N_T[n][t]}`);
      sum += gap;
      max = Math.max(max, gap);
      numTokens++;
    }
    return { mean: numTokens === 0 ? 0 : sum / numTokens, max, numTokens };
  });
}

/** One gap over several episodes, every token counting the same. */
export function joinGaps(gaps: readonly Gap[]): Gap {
  const numTokens = gaps.reduce((sum, gap) => sum + gap.numTokens, 0);
  const total = gaps.reduce((sum, gap) => sum + gap.mean * gap.numTokens, 0);
  const max = gaps.reduce((largest, gap) => Math.max(largest, gap.max), 0);
  return { mean: numTokens === 0 ? 0 : total / numTokens, max, numTokens };
}

/** Check 3. Throws VigorlError("numerics") naming the episode with the widest gap. */
export function requireSmallGaps(
  records_N: readonly ParityRecord[],
  gaps_N: readonly Gap[],
  config: ParityConfig,
): void {
  let worst = 0;
  gaps_N.forEach((gap, n) => {
    if (gap.mean > gaps_N[worst].mean) worst = n;
  });
  const gap = gaps_N[worst];
  if (gap === undefined || gap.mean <= config.maxGap) return;
  stop(
    records_N[worst].id,
    `sampler and learner disagree by ${gap.mean.toFixed(4)} nats a token over ${gap.numTokens} ` +
      `tokens (largest ${gap.max.toFixed(3)}, allowed ${config.maxGap})`,
  );
}

/** Check 4, over the episodes that were read with and without pixels. */
export function requireBlindGap(seeing: Gap, blind: Gap, config: ParityConfig): void {
  const least = Math.max(config.minBlindGap, config.minBlindRatio * seeing.mean);
  if (config.minBlindGap === 0 || blind.numTokens === 0 || blind.mean >= least) return;
  throw new VigorlError(
    "numerics",
    `parity: blanked pixels move the learner's log-probabilities by ${blind.mean.toPrecision(3)} ` +
      `nats a token only (with pixels ${seeing.mean.toPrecision(3)}, expected at least ` +
      `${least.toPrecision(3)}): it does not look at the images`,
    { hint: "check the vision tower and the placeholders, or set rl.parity.minBlindGap to 0" },
  );
}

/** Reads a few episodes with their pixels blanked; those without an image do not count. */
export async function blindGaps(
  learner: Learner,
  records_N: readonly ParityRecord[],
  data_N: readonly Datum[],
  count: number,
): Promise<{ chosen: number[]; gaps: Gap[] }> {
  const chosen = records_N.flatMap((record, n) => (record.imageHashes.length > 0 ? [n] : []));
  chosen.splice(count);
  const outputs = await learner.forward(
    chosen.map((n) => data_N[n]),
    { blind: true },
  );
  const records = chosen.map((n) => records_N[n]);
  return {
    chosen,
    gaps: gapsOf(
      records,
      outputs.map((output) => output.logprobs),
    ),
  };
}

/**
 * The gate of a run: it costs nothing where the learner's forward pass is made anyway, plus one
 * blind reading of a few episodes in the first step that learns and now and then after it.
 */
export class ParityGate {
  private readonly learner: Learner;
  private readonly config: ParityConfig;
  private readonly placeholders: Placeholders;
  private blindAt: number | undefined;
  private numbers: ParityNumbers = {};

  constructor(learner: Learner, config: ParityConfig, placeholders: Placeholders) {
    this.learner = learner;
    this.config = config;
    this.placeholders = placeholders;
  }

  /**
   * All checks on the data of an update and on what the learner said of them, before the optimiser
   * moves a weight. Throws VigorlError("numerics").
   */
  async check(
    step: number,
    records_N: readonly ParityRecord[],
    data_N: readonly Datum[],
    outputs_N: readonly DatumOutput[],
  ): Promise<void> {
    const numImages = checkImages(records_N, data_N, this.placeholders);
    const gaps_N = gapsOf(
      records_N,
      outputs_N.map((output) => output.logprobs),
    );
    requireSmallGaps(records_N, gaps_N, this.config);
    const all = joinGaps(gaps_N);
    this.numbers = {
      "parity/gapMean": all.mean,
      "parity/gapMax": all.max,
      "parity/images": numImages,
    };
    if (this.blindAt !== undefined && step < this.blindAt + this.config.blindEvery) return;
    const blind = await blindGaps(this.learner, records_N, data_N, this.config.blindEpisodes);
    const blindGap = joinGaps(blind.gaps);
    requireBlindGap(joinGaps(blind.chosen.map((n) => gaps_N[n])), blindGap, this.config);
    this.numbers = { ...this.numbers, "parity/blindGap": blindGap.mean };
    this.blindAt = step;
  }

  /** The numbers of the last check, once. */
  takeMetrics(): ParityNumbers {
    const numbers = this.numbers;
    this.numbers = {};
    return numbers;
  }
}

function checkGrid(image: ModelImage, id: string, index: number, mergeSize: number): void {
  const expected = (image.grid.h * image.grid.w) / mergeSize ** 2;
  if (image.numTokens !== expected) {
    const { h, w } = image.grid;
    stop(
      id,
      `image ${index + 1} of grid ${h}×${w} has ${image.numTokens} placeholders, not ${expected}`,
    );
  }
}

function stop(id: string, problem: string): never {
  throw new VigorlError("numerics", `parity: ${id}: ${problem}`, {
    hint: "the learner does not see what the sampler saw; nothing was learned from this step",
  });
}
