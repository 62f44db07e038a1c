/**
 * Forward and backward passes over data: micro-batches of neighbouring lengths, logits only where
 * something is scored and only a block of them at a time. The loss itself is plain numbers
 * (`losses/`): all log-probabilities of a datum go out, their derivatives come back and autograd does
 * the rest. A datum whose logits do not fit one block is scored twice, first without gradients.
 * Same data in the same order give the same bits.
 */
import { VigorlError } from "../../core/errors.ts";
import { blankLike } from "../../image/model-image.ts";
import type { PreprocessorConfig } from "../../image/preprocessor-config.ts";
import { encodePixels, lookAtPixels } from "../../model/patches.ts";
import type { VisionLanguageModel } from "../../model/vision-language-model.ts";
import { cat, logSoftmaxBackward, type Tensor } from "../../torch/ops.ts";
import { noGrad, scope } from "../../torch/scope.ts";
import { tensor } from "../../torch/tensor.ts";
import { checkDatum, datumLoss } from "../losses/table.ts";
import {
  numPositions,
  type Chunk,
  type Datum,
  type DatumOutput,
  type ForwardOptions,
  type Loss,
  type StepOutput,
} from "../types.ts";
import type { FeatureCache } from "./feature-cache.ts";
import { pixelHashes } from "./pixel-hashes.ts";
import { layOut, microBatches, type Layout } from "./micro-batches.ts";

/** Copies of the logits that a block needs at once: their log-softmax, and two of gradients. */
export const LOGITS_COPIES = 3;
const BYTES_PER_LOGIT = 4;

export interface LearnerSettings {
  readonly trainable: "all" | "language";
  readonly tokensPerMicroBatch: number;
  readonly logitsBytes: number;
  /** Gradient checkpointing: each layer runs again in the backward pass. */
  readonly recompute: boolean;
  readonly preprocessor: PreprocessorConfig;
}

/** A model and the features its tower gives. */
export interface Sighted {
  readonly model: VisionLanguageModel;
  readonly features: FeatureCache;
}

/** Log-probabilities of all data, and their entropy where weighted. Records nothing for gradients. */
export function forward(
  { model, features }: Sighted,
  data: readonly Datum[],
  options: ForwardOptions,
  settings: LearnerSettings,
): DatumOutput[] {
  const seen = options.blind === true ? data.map(blinded) : data;
  const lengths = checkData(seen);
  const outputs = emptyOutputs(seen, lengths);
  for (const members of microBatches(lengths, settings.tokensPerMicroBatch)) {
    noGrad(() =>
      scope(() => {
        const layout = layOut(seen, members, model.config, options.positions ?? "weighted");
        if (layout.rows.length === 0) return;
        const { batch, rows } = layout;
        const looked =
          options.anew === true && batch.images.length > 0
            ? encodePixels(model, batch.images, settings.preprocessor)
            : features.take(batch.images);
        const hidden = model.hidden(batch, { features: looked, rows });
        for (const [start, end] of blocks(0, layout.rows.length, rowsPerBlock(model, settings)))
          scope(() => note(outputs, layout, start, score(model, hidden, layout, start, end)));
      }),
    );
  }
  return outputs;
}

/**
 * As `forward`, and adds the gradients of Σ weight · loss to the trained parameters. `collect` is
 * called after each backward pass that has added some.
 */
export function forwardBackward(
  { model, features }: Sighted,
  data: readonly Datum[],
  loss: Loss,
  settings: LearnerSettings,
  collect: () => void = () => undefined,
): StepOutput {
  const lengths = checkData(data, loss);
  const outputs = emptyOutputs(data, lengths);
  const sums = { loss: 0, clipped: 0, kl: 0, tokens: 0 };
  const gradientsOf = (index: number): Float64Array => {
    const {
      loss: value,
      gradient_T,
      stats,
    } = datumLoss(loss, outputs[index].logprobs, data[index], index);
    sums.loss += value;
    sums.clipped += stats.numClipped;
    sums.kl += stats.kl;
    sums.tokens += stats.numTokens;
    return gradient_T;
  };
  for (const members of microBatches(lengths, settings.tokensPerMicroBatch)) {
    scope(() => {
      const layout = layOut(data, members, model.config, "weighted");
      if (layout.rows.length === 0) return;
      const { batch, rows } = layout;
      model.adapter?.nextBatch();
      const { preprocessor, recompute } = settings;
      const look =
        settings.trainable === "language" || batch.images.length === 0
          ? undefined
          : lookAtPixels(model, batch.images, preprocessor, recompute);
      const seen = look === undefined ? features.take(batch.images) : look.features;
      const pass = model.pass(batch, recompute, { features: seen, rows });
      // The head runs block by block beside the graph, so that only one block of logits is alive.
      const ends = pass.hidden;
      const slopesOf: Tensor[] = [];
      const size = rowsPerBlock(model, settings);
      for (const [first, last] of wholeData(layout, size)) {
        const pieces = blocks(first, last, size);
        if (pieces.length > 1)
          for (const [start, end] of pieces)
            noGrad(() =>
              scope(() => note(outputs, layout, start, score(model, ends, layout, start, end))),
            );
        let gradients: ReadonlyMap<number, Float64Array> | undefined;
        for (const [start, end] of pieces) {
          const slope = noGrad(() =>
            scope(() => {
              const scored = score(model, ends, layout, start, end);
              if (pieces.length === 1) note(outputs, layout, start, scored);
              gradients ??= mapOf(layout.datumOf.subarray(first, last), gradientsOf);
              const slopes = new Float32Array(end - start);
              for (let i = start; i < end; i++)
                slopes[i - start] = gradients.get(layout.datumOf[i])![layout.positionOf[i]];
              return headBackward(model, ends, scored, slopes);
            }),
          );
          slopesOf.push(slope);
          collect();
        }
      }
      pass.backward(slopesOf.length === 1 ? slopesOf[0] : cat(slopesOf, 0), collect);
      look?.backward(collect);
    });
  }
  const perToken = sums.tokens === 0 ? 0 : 1 / sums.tokens;
  return {
    outputs,
    loss: sums.loss,
    clipFraction: sums.clipped * perToken,
    kl: sums.kl * perToken,
  };
}

/** The value of each different key, worked out once, in the order of the keys. */
function mapOf<T>(keys: Int32Array, of: (key: number) => T): Map<number, T> {
  return new Map([...new Set(keys)].map((key) => [key, of(key)]));
}

interface Scored {
  /** Of the target tokens, [n]. */
  readonly logprobs: Tensor;
  readonly entropy: Tensor;
  /** Of all tokens, [n, V]. */
  readonly all: Tensor;
  /** int64 [n, 1]. */
  readonly targets: Tensor;
  /** What multiplies the logits, [n, 1]. */
  readonly rates: Tensor | undefined;
  /** First of the rows. */
  readonly start: number;
}

/** Scores rows `start … end` of the hidden states [N, hidden], without a graph. */
function score(
  model: VisionLanguageModel,
  hidden: Tensor,
  layout: Layout,
  start: number,
  end: number,
): Scored {
  const { device } = model;
  const rates = layout.rates && tensor(layout.rates.subarray(start, end), { device }).unsqueeze(-1);
  const all = scope(() => {
    const logits = model.logits(hidden.narrow(0, start, end - start)).to("float32");
    return (rates === undefined ? logits : logits.mul_(rates)).logSoftmax(-1);
  });
  const ids = tensor(layout.targets.subarray(start, end), { dtype: "int64", device });
  const targets = ids.unsqueeze(-1);
  const logprobs = all.gather(-1, targets).select(-1, 0);
  const entropy = scope(() => all.exp().mul_(all).sum([-1]).neg());
  return { logprobs, entropy, all, targets, rates, start };
}

/**
 * The backward pass of `score`: adds to the head's gradient where it is trained.
 * @param slopes derivative of the loss by each log-probability, [n]
 * @returns the derivative by the hidden states of these rows, [n, hidden]
 */
function headBackward(
  model: VisionLanguageModel,
  hidden: Tensor,
  { all, targets, rates, start }: Scored,
  slopes: Float32Array,
): Tensor {
  const { head } = model.language;
  const byLogits = scope(() => {
    const picked = tensor(slopes, { device: model.device }).unsqueeze(-1);
    const byLogprobs = all.zerosLike().scatterAdd_(-1, targets, picked);
    const slope = logSoftmaxBackward(byLogprobs, all, -1, "float32");
    all.dispose();
    byLogprobs.dispose();
    return (rates === undefined ? slope : slope.mul_(rates)).to(model.dtype);
  });
  if (head.requiresGrad) {
    const gradient = byLogits.t().mm(hidden.narrow(0, start, slopes.length));
    const before = head.grad;
    if (before === null) head.grad = gradient;
    else before.add_(gradient);
  }
  return byLogits.mm(head);
}

/** Pulls a block's numbers over and files them by datum. */
function note(
  outputs: readonly Required<DatumOutput>[],
  layout: Layout,
  start: number,
  scored: Scored,
): void {
  const logprobs = scored.logprobs.toArray() as Float32Array;
  const entropy = scored.entropy.toArray() as Float32Array;
  for (let i = 0; i < logprobs.length; i++) {
    const output = outputs[layout.datumOf[start + i]];
    const t = layout.positionOf[start + i];
    output.logprobs[t] = logprobs[i];
    output.entropy[t] = entropy[i];
  }
}

/** How many rows of logits fit the bound. */
function rowsPerBlock(model: VisionLanguageModel, { logitsBytes }: LearnerSettings): number {
  const bytesPerRow = model.config.text.vocabSize * BYTES_PER_LOGIT * LOGITS_COPIES;
  return Math.max(1, Math.floor(logitsBytes / bytesPerRow));
}

type Range = readonly [start: number, end: number];

/** Cuts rows `first … last` into ranges of at most `size`. */
function blocks(first: number, last: number, size: number): Range[] {
  const ranges: Range[] = [];
  for (let start = first; start < last; start += size)
    ranges.push([start, Math.min(start + size, last)]);
  return ranges;
}

/** Ranges of whole data, of at most `size` rows each where one datum does not have more alone. */
function wholeData({ datumOf }: Layout, size: number): Range[] {
  const ranges: [number, number][] = [];
  for (let start = 0; start < datumOf.length;) {
    let end = start + 1;
    while (end < datumOf.length && datumOf[end] === datumOf[start]) end++;
    const before = ranges.at(-1);
    if (before !== undefined && end - before[0] <= size) before[1] = end;
    else ranges.push([start, end]);
    start = end;
  }
  return ranges;
}

/** Positions of each datum, all arrays checked against them. */
function checkData(data: readonly Datum[], loss?: Loss): number[] {
  if (data.length === 0) throw new VigorlError("numerics", "a learning step without data");
  return data.map((datum, index) => {
    const length = numPositions(datum.chunks);
    checkDatum(datum, index, length, loss);
    return length;
  });
}

function emptyOutputs(data: readonly Datum[], lengths: readonly number[]): Required<DatumOutput>[] {
  return lengths.map((length, n) => ({
    logprobs: new Float32Array(length),
    entropy: new Float32Array(length),
    imageHashes: pixelHashes(data[n].chunks),
  }));
}

function blinded(datum: Datum): Datum {
  const chunks = datum.chunks.map((chunk): Chunk =>
    chunk.type === "text" ? chunk : { type: "image", image: blankLike(chunk.image) },
  );
  return { ...datum, chunks };
}
