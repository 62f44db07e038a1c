/**
 * Forward and backward passes over data: micro-batches of neighbouring lengths, logits only where
 * something is scored and only a block of them at a time. The loss itself is plain numbers
 * (`losses.ts`): log-probabilities go out, their derivatives come back and autograd does the rest.
 * Same data in the same order give the same bits.
 */
import { VigorlError } from "../../core/errors.ts";
import { blankLike, patches } from "../../image/model-image.ts";
import type { PreprocessorConfig } from "../../image/preprocessor-config.ts";
import type { VisionLanguageModel } from "../../model/vision-language-model.ts";
import type { Tensor } from "../../torch/ops.ts";
import { noGrad, scope } from "../../torch/scope.ts";
import { tensor } from "../../torch/tensor.ts";
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
import { checkDatum, tokenLoss } from "./losses.ts";
import { layOut, microBatches, type Layout } from "./micro-batches.ts";

/** Copies of the logits that a block needs at once: raw, log-softmax, and their gradients. */
const LOGITS_COPIES = 5;
const BYTES_PER_LOGIT = 4;

export interface LearnerSettings {
  readonly trainable: "all" | "language";
  readonly tokensPerMicroBatch: number;
  readonly logitsBytes: number;
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
  const outputs = emptyOutputs(lengths);
  for (const members of microBatches(lengths, settings.tokensPerMicroBatch)) {
    noGrad(() =>
      scope(() => {
        const layout = layOut(seen, members, model.config, options.positions ?? "weighted");
        if (layout.rows.length === 0) return;
        const { batch, rows } = layout;
        const hidden = model.hidden(batch, { features: features.take(batch.images), rows });
        for (const [start, end] of blocks(model, layout, settings))
          scope(() => {
            const scored = score(model, hidden, layout, start, end);
            note(outputs, layout, start, scored);
          });
      }),
    );
  }
  return outputs;
}

/** As `forward`, and adds the gradients of Σ weight · loss to the trained parameters. */
export function forwardBackward(
  { model, features }: Sighted,
  data: readonly Datum[],
  loss: Loss,
  settings: LearnerSettings,
): StepOutput {
  const lengths = checkData(data, loss);
  const outputs = emptyOutputs(lengths);
  const sums = { loss: 0, clipped: 0, kl: 0, tokens: 0 };
  for (const members of microBatches(lengths, settings.tokensPerMicroBatch)) {
    scope(() => {
      const layout = layOut(data, members, model.config, "weighted");
      if (layout.rows.length === 0) return;
      const { batch, rows } = layout;
      const seen =
        settings.trainable === "language" || batch.images.length === 0
          ? features.take(batch.images)
          : model.encodeImages(batch.images, (image) => patches(image, settings.preprocessor));
      const hidden = model.hidden(batch, { features: seen, rows });
      // The head runs block by block on a cut leaf, so that only one block of logits is alive.
      const leaf = hidden.detach().requiresGrad_();
      for (const [start, end] of blocks(model, layout, settings))
        scope(() => {
          const scored = score(model, leaf, layout, start, end);
          const logprobs = note(outputs, layout, start, scored);
          const gradients = new Float32Array(end - start);
          for (let i = start; i < end; i++) {
            const datum = layout.datumOf[i];
            const t = layout.positionOf[i];
            const token = tokenLoss(loss, data[datum], t, logprobs[i - start]);
            if (!Number.isFinite(token.loss + token.gradient))
              throw new VigorlError(
                "numerics",
                `datum ${datum}: the loss of token ${t} is ${token.loss}`,
                { hint: "lower the learning rate, or look at the log-probabilities of this datum" },
              );
            gradients[i - start] = token.gradient;
            sums.loss += token.loss;
            sums.clipped += token.clipped ? 1 : 0;
            sums.kl += token.kl;
            sums.tokens++;
          }
          scored.logprobs.backward(tensor(gradients, { device: model.device }));
        });
      const gradient = leaf.grad;
      if (gradient !== null) hidden.backward(gradient);
      leaf.zeroGrad();
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

interface Scored {
  /** Of the target tokens, [n]; part of the autograd graph where there is one. */
  readonly logprobs: Tensor;
  readonly entropy: Tensor;
}

/** Scores rows `start … end` of the hidden states [N, hidden]. */
function score(
  model: VisionLanguageModel,
  hidden: Tensor,
  layout: Layout,
  start: number,
  end: number,
): Scored {
  const logits = model.logits(hidden.narrow(0, start, end - start)).to("float32");
  const all = logits.logSoftmax(-1);
  const targets = tensor(layout.targets.subarray(start, end), {
    dtype: "int64",
    device: model.device,
  });
  const logprobs = all.gather(-1, targets.unsqueeze(-1)).select(-1, 0);
  const entropy = noGrad(() => {
    const fixed = all.detach();
    return fixed.exp().mul_(fixed).sum([-1]).neg();
  });
  return { logprobs, entropy };
}

/** Pulls a block's numbers over, files them by datum and returns the log-probabilities. */
function note(
  outputs: readonly DatumOutput[],
  layout: Layout,
  start: number,
  scored: Scored,
): Float32Array {
  const logprobs = scored.logprobs.toArray() as Float32Array;
  const entropy = scored.entropy.toArray() as Float32Array;
  for (let i = 0; i < logprobs.length; i++) {
    const output = outputs[layout.datumOf[start + i]];
    const t = layout.positionOf[start + i];
    output.logprobs[t] = logprobs[i];
    output.entropy[t] = entropy[i];
  }
  return logprobs;
}

/** Ranges of rows whose logits fit the bound. */
function blocks(
  model: VisionLanguageModel,
  layout: Layout,
  settings: LearnerSettings,
): [start: number, end: number][] {
  const total = layout.rows.length;
  const bytesPerRow = model.config.text.vocabSize * BYTES_PER_LOGIT * LOGITS_COPIES;
  const size = Math.max(1, Math.floor(settings.logitsBytes / bytesPerRow));
  const ranges: [number, number][] = [];
  for (let start = 0; start < total; start += size)
    ranges.push([start, Math.min(start + size, total)]);
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

function emptyOutputs(lengths: readonly number[]): DatumOutput[] {
  return lengths.map((length) => ({
    logprobs: new Float32Array(length),
    entropy: new Float32Array(length),
  }));
}

function blinded(datum: Datum): Datum {
  const chunks = datum.chunks.map((chunk): Chunk =>
    chunk.type === "text" ? chunk : { type: "image", image: blankLike(chunk.image) },
  );
  return { ...datum, chunks };
}
