/**
 * From logits to tokens and log-probabilities. The softmax runs on tensors; the draw itself in
 * JavaScript where the vocabulary is small enough to be pulled over (`sampler-math.ts`), else on
 * tensors by the same rule. Every row is computed for itself: who else is in the batch changes nothing.
 * Legend: R rows of logits, D draws, V vocabulary.
 */
import type { SampleParams } from "../types.ts";
import type { Tensor } from "../../torch/ops.ts";
import { noGrad, scope } from "../../torch/scope.ts";
import { tensor } from "../../torch/tensor.ts";
import { counterUniform } from "./counter-random.ts";
import { drawToken } from "./sampler-math.ts";

/** One token to draw: from row `row` of the logits, as the `n`-th token of its sample. */
export interface DrawRequest {
  readonly row: number;
  readonly n: number;
  readonly params: SampleParams;
}

export interface Drawn {
  readonly token: number;
  /** At temperature 1, of the whole distribution. */
  readonly logprob: number;
}

/** Largest vocabulary that is sampled in JavaScript. */
export const SMALL_VOCABULARY = 4096;

/** Where probabilities are pulled to; steps have one shape, and a fresh array each costs more. */
let pulled = new Float32Array(0);

/** Draws a token for every request from logits [R, V]. */
export function drawTokens(logits: Tensor, requests: readonly DrawRequest[]): Drawn[] {
  if (requests.length === 0) return [];
  const small = logits.shape[1] <= SMALL_VOCABULARY;
  return noGrad(() =>
    scope(() => {
      const wide = logits.to("float32");
      return small ? drawSmall(wide, requests) : drawLarge(wide, requests);
    }),
  );
}

/** Samples in JavaScript from pulled probabilities. */
export function drawSmall(logits: Tensor, requests: readonly DrawRequest[]): Drawn[] {
  const vocabulary = logits.shape[1];
  if (pulled.length !== logits.numel) pulled = new Float32Array(logits.numel);
  const plain = logits.softmax(-1).getBytes(pulled);
  const drawn: Drawn[] = [];
  const tempered: number[] = [];
  let best: BigInt64Array | undefined;
  for (const [i, { row, n, params }] of requests.entries()) {
    const { temperature, topP, topK, seed } = params;
    if (temperature !== 1 && temperature !== 0) {
      tempered.push(i);
      continue;
    }
    const first = row * vocabulary;
    let token: number;
    if (temperature === 0) {
      best ??= logits.argmax(-1).toArray() as BigInt64Array;
      token = Number(best[row]);
    } else {
      token = drawToken(plain, first, vocabulary, {
        uniform: counterUniform(seed, n),
        topP,
        topK,
      });
    }
    drawn[i] = { token, logprob: Math.log(plain[first + token]) };
  }
  if (tempered.length === 0) return drawn;
  const rows = pickRows(logits, tempered, requests);
  const logprobs = rows.logSoftmax(-1).toArray() as Float32Array;
  const scaled = rows.mul(inverseTemperatures(logits, tempered, requests)).softmax(-1);
  const probabilities = scaled.toArray() as Float32Array;
  for (const [k, i] of tempered.entries()) {
    const { n, params } = requests[i];
    const uniform = counterUniform(params.seed, n);
    const token = drawToken(probabilities, k * vocabulary, vocabulary, { ...params, uniform });
    drawn[i] = { token, logprob: logprobs[k * vocabulary + token] };
  }
  return drawn;
}

/** Samples on tensors; only tokens and log-probabilities are pulled. */
export function drawLarge(logits: Tensor, requests: readonly DrawRequest[]): Drawn[] {
  const all = requests.map((_, i) => i);
  const rows = pickRows(logits, all, requests);
  const sampled = all.filter((i) => requests[i].params.temperature !== 0);
  const tokens = Array.from(rows.argmax(-1).toArray() as BigInt64Array, Number);
  if (sampled.length > 0) {
    const hot = pickRows(logits, sampled, requests);
    const scaled = hot.mul(inverseTemperatures(logits, sampled, requests)).softmax(-1);
    const ids = drawFromProbabilities(
      scaled,
      sampled.map((i) => requests[i]),
    );
    for (const [k, i] of sampled.entries()) tokens[i] = ids[k];
  }
  const index = tensor(tokens, { dtype: "int64", device: logits.device }).unsqueeze(-1);
  const logprobs = rows.logSoftmax(-1).gather(-1, index).toArray() as Float32Array;
  return tokens.map((token, i) => ({ token, logprob: logprobs[i] }));
}

/** One id for each row of probabilities [D, V]: `drawToken` on tensors. */
function drawFromProbabilities(probabilities: Tensor, requests: readonly DrawRequest[]): number[] {
  const [, vocabulary] = probabilities.shape;
  const { device } = probabilities;
  const column = (values: number[]): Tensor =>
    tensor(Float64Array.from(values), { dtype: "float64", device }).unsqueeze(-1);
  let kept = probabilities.to("float64");
  if (requests.some(({ params }) => params.topP < 1 || params.topK > 0)) {
    const [sorted, order] = kept.sort(-1, true);
    const limits = column(requests.map(({ params }) => params.topK || vocabulary));
    const ranks = sorted.cumsum(-1).mul(0).add(1).cumsum(-1).sub(1);
    const first = sorted.mul(ranks.lt(limits).to("float64"));
    const mass = first.sum([-1], true);
    // A share above 1 keeps every token, whatever the cumulative sum rounds to.
    const shares = column(requests.map(({ params }) => (params.topP < 1 ? params.topP : 2)));
    const before = first.cumsum(-1).sub(first);
    const inside = before.lt(mass.mul(shares)).to("float64");
    kept = kept.mul(0).scatter(-1, order, first.mul(inside));
  }
  const sums = kept.cumsum(-1);
  const total = sums.narrow(-1, vocabulary - 1, 1);
  const uniforms = column(requests.map(({ n, params }) => counterUniform(params.seed, n)));
  const target = total.mul(uniforms);
  const drawn = sums.le(target).sum([-1]).toArray() as BigInt64Array;
  const last = sums.lt(total).sum([-1]).toArray() as BigInt64Array;
  return Array.from(drawn, (id, k) => Number(id < last[k] ? id : last[k]));
}

function pickRows(
  logits: Tensor,
  which: readonly number[],
  requests: readonly DrawRequest[],
): Tensor {
  const rows = which.map((i) => requests[i].row);
  return logits.indexSelect(0, tensor(rows, { dtype: "int64", device: logits.device }));
}

function inverseTemperatures(
  logits: Tensor,
  which: readonly number[],
  requests: readonly DrawRequest[],
): Tensor {
  const values = which.map((i) => 1 / requests[i].params.temperature);
  return tensor(values, { device: logits.device }).unsqueeze(-1);
}
