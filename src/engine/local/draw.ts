/**
 * From logits to tokens and log-probabilities: by an operator of our own on a CPU, in libtorch's
 * elsewhere, by one rule. Top-k keeps the k likeliest (ties: the lower id), top-p keeps of those the
 * shortest likeliest-first run whose share reaches p, and the draw walks what is left by token id. Every
 * row is computed for itself: who else is in the batch changes nothing.
 * Legend: R rows of logits, D draws, V vocabulary.
 */
import { GREEDY_TEMPERATURE, type SampleParams } from "../types.ts";
import { hasKernels, kernels } from "../../torch/kernels.ts";
import type { Tensor } from "../../torch/ops.ts";
import { noGrad, scope } from "../../torch/scope.ts";
import { tensor } from "../../torch/tensor.ts";
import { counterUniform } from "./counter-random.ts";

/** One token to draw: from row `row` of the logits, as the `n`-th token of its sample. */
export interface DrawRequest {
  readonly row: number;
  readonly n: number;
  readonly params: SampleParams;
}

export interface Drawn {
  /** −1 where the logits of the row are not finite: nothing can be drawn from them. */
  readonly token: number;
  /** At the temperature of the request (1 where greedy), of the whole distribution. */
  readonly logprob: number;
}

/** Draws a token for every request from logits [R, V]. */
export function drawTokens(logits: Tensor, requests: readonly DrawRequest[]): Drawn[] {
  if (requests.length === 0) return [];
  return noGrad(() =>
    scope(() => {
      const wide = logits.to("float32");
      return hasKernels(wide) ? drawFused(wide, requests) : drawPlain(wide, requests);
    }),
  );
}

/** Draws by `kernels.drawTokens`. */
export function drawFused(logits: Tensor, requests: readonly DrawRequest[]): Drawn[] {
  const columns = new Float64Array(5 * requests.length);
  for (const [i, { row, n, params }] of requests.entries()) {
    const { seed, temperature, topP, topK } = params;
    columns[5 * i] = row;
    columns[5 * i + 1] = counterUniform(seed, n);
    columns[5 * i + 2] = temperature < GREEDY_TEMPERATURE ? 0 : temperature;
    columns[5 * i + 3] = topP;
    columns[5 * i + 4] = topK;
  }
  const shape = [requests.length, 5];
  const drawn = kernels.drawTokens(logits, tensor(columns, { shape, dtype: "float64" })).toArray();
  return requests.map((_, i) => ({
    token: Number(drawn[2 * i]),
    logprob: Number(drawn[2 * i + 1]),
  }));
}

/** Draws in libtorch's operators; only tokens and log-probabilities are pulled. */
export function drawPlain(logits: Tensor, requests: readonly DrawRequest[]): Drawn[] {
  const { device } = logits;
  const isGreedy = requests.map(({ params }) => params.temperature < GREEDY_TEMPERATURE);
  const rows = pickRows(logits, requests);
  const rates = requests.map(({ params }, i) => (isGreedy[i] ? 1 : 1 / params.temperature));
  const scaled = rows.mul(tensor(rates, { device }).unsqueeze(-1));
  const tokens = Array.from(rows.argmax(-1).toArray() as BigInt64Array, Number);
  const sampled = requests.map((_, i) => i).filter((i) => !isGreedy[i]);
  if (sampled.length > 0) {
    const hot = scaled.indexSelect(0, tensor(sampled, { dtype: "int64", device })).softmax(-1);
    const ids = drawFromProbabilities(
      hot,
      sampled.map((i) => requests[i]),
    );
    for (const [k, i] of sampled.entries()) tokens[i] = ids[k];
  }
  const index = tensor(tokens, { dtype: "int64", device }).unsqueeze(-1);
  const logprobs = scaled.logSoftmax(-1).gather(-1, index).toArray() as Float32Array;
  return tokens.map((token, i) =>
    Number.isFinite(logprobs[i]) ? { token, logprob: logprobs[i] } : { token: -1, logprob: NaN },
  );
}

/** One id for each row of probabilities [D, V]. */
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

function pickRows(logits: Tensor, requests: readonly DrawRequest[]): Tensor {
  const rows = requests.map(({ row }) => row);
  return logits.indexSelect(0, tensor(rows, { dtype: "int64", device: logits.device }));
}
