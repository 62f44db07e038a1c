/**
 * From logits to tokens and log-probabilities: by operators of our own on a CPU and, without top-p and
 * top-k, on a GPU in half precision, in libtorch's elsewhere, by one rule. Top-k keeps the k likeliest (ties: the lower id), top-p keeps of those the
 * shortest likeliest-first run whose share reaches p, and the draw walks what is left by token id. Every
 * row is computed for itself: who else is in the batch changes nothing.
 * Legend: R rows of logits, D draws, V vocabulary.
 */
import { GREEDY_TEMPERATURE, type SampleParams } from "../types.ts";
import { DRAW_COLUMNS } from "../../model/decode-tapes.ts";
import { hasGpuKernels } from "../../torch/gpu-kernels.ts";
import { hasKernels, kernels } from "../../torch/kernels.ts";
import { searchsorted, stack, where, type Tensor } from "../../torch/ops.ts";
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
      const isWhole = requests.every(({ params }) => params.topP === 1 && params.topK === 0);
      if (isWhole && hasGpuKernels(logits) && logits.size(1) % 8 === 0)
        return drawFused(logits, requests);
      const wide = logits.to("float32");
      return hasKernels(wide) ? drawFused(wide, requests) : drawPlain(wide, requests);
    }),
  );
}

/** Draws by `kernels.drawTokens`. */
export function drawFused(logits: Tensor, requests: readonly DrawRequest[]): Drawn[] {
  const columns = new Float64Array(DRAW_COLUMNS * requests.length);
  for (const [i, request] of requests.entries()) writeDraw(columns, i, request);
  const shape = [requests.length, DRAW_COLUMNS];
  const { device } = logits;
  const asked = tensor(columns, { shape, dtype: "float64", device });
  const drawn = kernels.drawTokens(logits, asked).toArray();
  return requests.map((_, i) => ({
    token: Number(drawn[2 * i]),
    logprob: Number(drawn[2 * i + 1]),
  }));
}

/** Writes the `i`-th draw as `kernels.drawTokens` takes it. */
export function writeDraw(columns: Float64Array, i: number, { row, n, params }: DrawRequest): void {
  const { seed, temperature, topP, topK } = params;
  const at = DRAW_COLUMNS * i;
  columns[at] = row;
  columns[at + 1] = counterUniform(seed, n);
  columns[at + 2] = temperature < GREEDY_TEMPERATURE ? 0 : temperature;
  columns[at + 3] = topP;
  columns[at + 4] = topK;
}

/** Draws in libtorch's operators, on the device: tokens and log-probabilities are pulled once. */
export function drawPlain(logits: Tensor, requests: readonly DrawRequest[]): Drawn[] {
  const { device } = logits;
  const isGreedy = requests.map(({ params }) => params.temperature < GREEDY_TEMPERATURE);
  const rows = pickRows(logits, requests);
  const rates = requests.map(({ params }, i) => (isGreedy[i] ? 1 : 1 / params.temperature));
  const scaled = rates.every((rate) => rate === 1)
    ? rows
    : rows.mul(tensor(rates, { device }).unsqueeze(-1));
  const likeliest = isGreedy.includes(true) ? rows.argmax(-1) : undefined;
  const drawn = isGreedy.includes(false)
    ? drawFromProbabilities(scaled.softmax(-1), requests)
    : undefined;
  const tokens =
    likeliest === undefined || drawn === undefined
      ? (likeliest ?? drawn)!
      : where(tensor(isGreedy, { device }), likeliest, drawn);
  const logprobs = scaled.logSoftmax(-1).gather(-1, tokens.unsqueeze(-1)).select(-1, 0);
  const pulled = stack([tokens.to("float64"), logprobs.to("float64")]).toArray() as Float64Array;
  const { length } = requests;
  return requests.map((_, i) => {
    const logprob = pulled[length + i];
    return Number.isFinite(logprob) ? { token: pulled[i], logprob } : { token: -1, logprob: NaN };
  });
}

/** One id for each row of probabilities [D, V], int64 [D]. */
function drawFromProbabilities(probabilities: Tensor, requests: readonly DrawRequest[]): Tensor {
  const [, vocabulary] = probabilities.shape;
  const { device } = probabilities;
  const column = (values: number[]): Tensor =>
    tensor(Float64Array.from(values), { dtype: "float64", device }).unsqueeze(-1);
  let sums: Tensor;
  if (requests.some(({ params }) => params.topP < 1 || params.topK > 0)) {
    const kept = probabilities.to("float64");
    const [sorted, order] = kept.sort(-1, true);
    const limits = column(requests.map(({ params }) => params.topK || vocabulary));
    const ranks = sorted.cumsum(-1).mul(0).add(1).cumsum(-1).sub(1);
    const first = sorted.mul(ranks.lt(limits).to("float64"));
    const mass = first.sum([-1], true);
    // A share above 1 keeps every token, whatever the cumulative sum rounds to.
    const shares = column(requests.map(({ params }) => (params.topP < 1 ? params.topP : 2)));
    const before = first.cumsum(-1).sub(first);
    const inside = before.lt(mass.mul(shares)).to("float64");
    sums = kept.mul(0).scatter(-1, order, first.mul(inside)).cumsum(-1);
  } else sums = probabilities.cumsum(-1, { dtype: "float64" });
  const total = sums.narrow(-1, vocabulary - 1, 1);
  const uniforms = column(requests.map(({ n, params }) => counterUniform(params.seed, n)));
  // How many sums the target has reached: the first one beyond it is the token's own.
  const reached = searchsorted(sums, total.mul(uniforms), { right: true });
  const last = searchsorted(sums, total.contiguous());
  // Where nothing is finite any id will do: its log-probability tells.
  return reached
    .minimum(last)
    .clampMax(vocabulary - 1)
    .select(-1, 0);
}

function pickRows(logits: Tensor, requests: readonly DrawRequest[]): Tensor {
  const rows = requests.map(({ row }) => row);
  if (rows.length === logits.size(0) && rows.every((row, i) => row === i)) return logits;
  return logits.indexSelect(0, tensor(rows, { dtype: "int64", device: logits.device }));
}
