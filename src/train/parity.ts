/**
 * The parity gate: proof, before anything is learned, that the learner sees what the sampler saw.
 * 1. The images are the same, in the same order: hashes of the pixels that the sampler read against
 *    hashes of those that the learner read, each worked out where they were used.
 * 2. Each image stands at its placeholder: as many positions as its grid has tokens, between
 *    `<|vision_start|>` and `<|vision_end|>`.
 * 3. |log p(sampler) − log p(learner)| is small with the images, also where the learner's tower runs
 *    again and no kept feature is used.
 * 4. It is large without them: the learner looks at the pixels at all.
 * A failure names the episode. Until a check of this process has passed it stops the run; after that a
 * first failure is told and a second one in a row stops it.
 *
 * Axes: N episodes, T positions.
 */
import { VigorlError } from "../core/errors.ts";
import { stream } from "../core/random.ts";
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
 * Checks 1 and 2 on the very data that the learner gets. `learner_N` are the hashes that it worked out
 * itself; where it has none, those of the data's pixels stand for them. Returns how many different
 * images there were. Throws VigorlError("numerics") naming the episode.
 */
export function checkImages(
  records_N: readonly ParityRecord[],
  data_N: readonly Datum[],
  placeholders: Placeholders,
  learner_N: readonly (readonly string[] | undefined)[] = [],
): number {
  const seen = new Set<string>();
  const known = new Map<ModelImage, string>();
  const hashOf = (image: ModelImage): string => {
    const hash = known.get(image) ?? imageHash(image);
    known.set(image, hash);
    return hash;
  };
  data_N.forEach(({ chunks }, n) => {
    const { id, imageHashes } = records_N[n];
    const hashes = learner_N[n];
    const images = chunks.flatMap((chunk) => (chunk.type === "image" ? [chunk.image] : []));
    if (images.length !== imageHashes.length) {
      stop(id, `the sampler saw ${imageHashes.length} images, the learner gets ${images.length}`);
    }
    images.forEach((image, i) => {
      checkGrid(image, id, i, placeholders.mergeSize);
      const hash = hashes?.[i] ?? hashOf(image);
      seen.add(hash);
      if (hash !== imageHashes[i]) {
        const other = imageHashes.indexOf(hash);
        const what = other < 0 ? "other pixels" : `image ${other + 1}`;
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
  return seen.size;
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

/** The data of an update, and what the learner said of them before a weight moved. */
export interface ParityCheck {
  readonly step: number;
  readonly records_N: readonly ParityRecord[];
  readonly data_N: readonly Datum[];
  readonly outputs_N: readonly DatumOutput[];
  /** Where the weights had moved before `outputs_N`: the log-probabilities from before. */
  readonly oldLogprobs_N?: readonly Float32Array[];
}

/**
 * The gate of a run: it costs nothing where the learner's forward pass is made anyway, plus two more
 * readings of a few episodes, by the number of the step: one with the tower run anew, one blind.
 */
export class ParityGate {
  /** A check has passed in this process. */
  hasPassed = false;
  private readonly learner: Learner;
  private readonly config: ParityConfig;
  private readonly placeholders: Placeholders;
  private readonly warn: (message: string) => void;
  private numbers: ParityNumbers = {};
  private failures = 0;

  constructor(
    learner: Learner,
    config: ParityConfig,
    placeholders: Placeholders,
    warn: (message: string) => void,
  ) {
    this.learner = learner;
    this.config = config;
    this.placeholders = placeholders;
    this.warn = warn;
  }

  /**
   * Which of a step's updates is checked: the first where the images are read anew and blind too, so
   * that no weight has moved, else one by chance. By seed and step, so that a resumed run checks the same.
   */
  updateToCheck(step: number, numUpdates: number, seed: number): number {
    if (this.isBlindStep(step)) return 0;
    return stream(seed, "parity", step).int(0, Math.max(0, numUpdates - 1));
  }

  /** All checks on an update. Throws VigorlError("numerics"), or warns once it has passed before. */
  async check(update: ParityCheck): Promise<void> {
    try {
      await this.examine(update);
      this.hasPassed = true;
      this.failures = 0;
    } catch (error) {
      const isFailure = error instanceof VigorlError && error.code === "numerics";
      if (!isFailure || !this.hasPassed || ++this.failures > 1) throw error;
      this.warn(`step ${update.step}: ${error.message}; one more in a row stops the run`);
    }
  }

  private async examine(update: ParityCheck): Promise<void> {
    const { step, records_N, data_N, outputs_N, oldLogprobs_N } = update;
    const hashes_N = outputs_N.map((output) => output.imageHashes);
    const logprobs_N = oldLogprobs_N ?? outputs_N.map((output) => output.logprobs);
    const gaps_N = gapsOf(records_N, logprobs_N);
    const all = joinGaps(gaps_N);
    this.numbers = { "parity/gapMean": all.mean, "parity/gapMax": all.max };
    const images = checkImages(records_N, data_N, this.placeholders, hashes_N);
    this.numbers = { ...this.numbers, "parity/images": images };
    requireSmallGaps(records_N, gaps_N, this.config);
    if (!this.isBlindStep(step)) return;
    const chosen = records_N.flatMap((record, n) => (record.imageHashes.length > 0 ? [n] : []));
    chosen.splice(this.config.blindEpisodes);
    const records = chosen.map((n) => records_N[n]);
    const read = async (how: { anew: true } | { blind: true }): Promise<Gap[]> => {
      const data = chosen.map((n) => data_N[n]);
      const outputs = data.length === 0 ? [] : await this.learner.forward(data, how);
      return gapsOf(
        records,
        outputs.map((output) => output.logprobs),
      );
    };
    const anew = await read({ anew: true });
    requireSmallGaps(records, anew, this.config);
    const blindGap = joinGaps(await read({ blind: true }));
    requireBlindGap(joinGaps(anew), blindGap, this.config);
    this.numbers = { ...this.numbers, "parity/blindGap": blindGap.mean };
  }

  private isBlindStep(step: number): boolean {
    return (step - 1) % this.config.blindEvery === 0;
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
