/** Gradients of the learner against the loss written as one expression of tensors. */
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, expect, test } from "vitest";
import { testDevice } from "../../../test/fixtures/device.ts";
import { makeTinyModel } from "../../../test/fixtures/tiny.ts";
import { stream } from "../../core/random.ts";
import { patches, toModelImage } from "../../image/model-image.ts";
import { patches14 } from "../../image/fixtures/preprocessor.ts";
import { flatRow, planBatch } from "../../model/batch.ts";
import { loadModelFolder } from "../../model/folder.ts";
import type { VisionLanguageModel } from "../../model/vision-language-model.ts";
import { cat, where, type Tensor } from "../../torch/ops.ts";
import { scope } from "../../torch/scope.ts";
import { tensor } from "../../torch/tensor.ts";
import { numPositions, type Chunk, type Datum, type Loss } from "../types.ts";
import { FeatureCache } from "./feature-cache.ts";
import { GradientSums } from "./gradient-sums.ts";
import { forwardBackward, type LearnerSettings } from "./learner.ts";

let folder: string;
let model: VisionLanguageModel;
let data: Datum[];
const settings: LearnerSettings = {
  trainable: "all",
  tokensPerMicroBatch: 60,
  logitsBytes: 2 ** 16,
  recompute: false,
  preprocessor: patches14,
};

beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), "vigorl-learner-"));
  await makeTinyModel(folder);
  model = await loadModelFolder(folder, { device: testDevice });
  model.setTrainable("all");
  data = [0, 1, 2, 3].map(randomDatum);
});

afterAll(async () => {
  model.dispose();
  await rm(folder, { recursive: true, force: true });
});

test("cross entropy: the gradient of the plain expression", () => {
  const loss: Loss = { kind: "crossEntropy" };
  const direct = gradients(() =>
    directLoss((logprobs, datum) => logprobs.neg().mul(datum.weights)),
  );
  const { result, grads } = learned(loss);
  expect(result).toBeCloseTo(direct.result, 4);
  expectClose(grads, direct.grads);
});

test("GRPO: the gradient of the plain expression, clips and KL included", () => {
  const loss: Loss = {
    kind: "grpo",
    clipLow: 0.2,
    clipHigh: 0.28,
    dualClip: 3,
    klCoef: 0.1,
    onPolicy: false,
  };
  const direct = gradients(() =>
    directLoss((logprobs, datum) => {
      const ratio = logprobs.sub(datum.oldLogprobs).exp();
      const plain = ratio.mul(datum.advantages).neg();
      const cut = ratio.clamp(0.8, 1.28).mul(datum.advantages).neg();
      const higher = where(cut.gt(plain), cut, plain);
      const most = datum.advantages.mul(-3);
      const bounded = datum.advantages.lt(0).logicalAnd(higher.gt(most));
      const policy = where(bounded, most, higher).mul(datum.importance);
      const distance = datum.refLogprobs.sub(logprobs);
      const kl = distance.exp().sub(distance).sub(1).clampMax(10);
      return policy.add(kl.mul(0.1)).mul(datum.weights);
    }),
  );
  const { result, grads } = learned(loss);
  expect(result).toBeCloseTo(direct.result, 3);
  expectClose(grads, direct.grads);
});

test("GSPO at temperature 0.7: a sequence's ratio, with its logits in one block or in many", () => {
  const loss: Loss = {
    kind: "gspo",
    clipLow: 0.2,
    clipHigh: 0.3,
    dualClip: null,
    klCoef: 0,
    onPolicy: false,
  };
  const cold = data.map((datum) => {
    const advantages = datum.advantages!.map(() => datum.advantages![0]);
    return { ...datum, advantages, temperature: 0.7 };
  });
  const direct = gradients(() =>
    directLoss((logprobs, datum) => {
      const scored = datum.weights.gt(0).to("float32");
      const ratio = logprobs.sub(datum.oldLogprobs).mul(scored).sum().div(scored.sum()).exp();
      const plain = ratio.mul(datum.advantages).neg();
      const cut = ratio.clamp(0.8, 1.3).mul(datum.advantages).neg();
      return where(cut.gt(plain), cut, plain).mul(datum.importance).mul(datum.weights);
    }, cold),
  );
  for (const logitsBytes of [2 ** 14, 2 ** 16, 2 ** 24]) {
    const { result, grads } = learned(loss, cold, { ...settings, logitsBytes });
    expect(result).toBeCloseTo(direct.result, 4);
    expectClose(grads, direct.grads);
  }
});

test("layers that run again in the backward pass give the same bits", () => {
  const loss: Loss = { kind: "crossEntropy" };
  const kept = learned(loss);
  const again = learned(loss, data, { ...settings, recompute: true });
  expect(again.result).toBe(kept.result);
  expect([...again.grads]).toEqual([...kept.grads]);
});

test("gradients of half-precision weights add up in float32 over micro-batches", async () => {
  const half = await loadModelFolder(folder, { device: testDevice, dtype: "bfloat16" });
  try {
    const trained = half.setTrainable("language");
    const loss: Loss = { kind: "crossEntropy" };
    const many = Array.from({ length: 192 }, (_, i) => data[i % 2]);
    const one = { ...settings, trainable: "language" as const, tokensPerMicroBatch: 1 };
    const run = (batch: readonly Datum[]) => {
      const features = new FeatureCache(half, patches14, 2 ** 20);
      const sums = new GradientSums(trained);
      forwardBackward({ model: half, features }, batch, loss, one, () => sums.collect());
      features.dispose();
      const found = scope(
        () =>
          new Map(
            [...trained].map(([name, parameter]) => [
              name,
              sums.of(parameter)?.to("float32").toArray() as Float32Array,
            ]),
          ),
      );
      sums.clear();
      return found;
    };
    const [a, b] = [run([data[0]]), run([data[1]])];
    const all = run(many);
    for (const [name, values] of all) {
      const exact = values.map((_, i) => 96 * (a.get(name)![i] + b.get(name)![i]));
      const scale = Math.max(...exact.map(Math.abs)) || 1;
      const error = Math.max(...values.map((value, i) => Math.abs(value - exact[i]))) / scale;
      expect({ name, close: error < 1e-4 }).toEqual({ name, close: true });
    }
  } finally {
    half.dispose();
  }
});

interface Row {
  readonly weights: Tensor;
  readonly oldLogprobs: Tensor;
  readonly refLogprobs: Tensor;
  readonly advantages: Tensor;
  readonly importance: Tensor;
}

/** Sum over all data of a loss on the log-probabilities of tokens 1 … T − 1. */
function directLoss(
  lossOf: (logprobs: Tensor, row: Row) => Tensor,
  among: readonly Datum[] = data,
): Tensor {
  const sums = among.map((datum) => {
    const batch = planBatch([datum.chunks], model.config);
    const hidden = model.hidden(batch, {
      features: model.encodeImages(batch.images, (image) => patches(image, patches14)),
    });
    const positions = numPositions(datum.chunks);
    const logprobs = model
      .logits(hidden.narrow(0, flatRow(batch, 0, 0), positions - 1))
      .div(datum.temperature ?? 1);
    const targets = tensor(batch.tokens.slice(1), { dtype: "int64", device: testDevice }).unsqueeze(
      -1,
    );
    const row = (values: Float32Array): Tensor => tensor(values.slice(1), { device: testDevice });
    return lossOf(logprobs.logSoftmax(-1).gather(-1, targets).view([-1]), {
      weights: row(datum.weights),
      oldLogprobs: row(datum.oldLogprobs!),
      refLogprobs: row(datum.refLogprobs!),
      advantages: row(datum.advantages!),
      importance: row(datum.importance!),
    }).sum();
  });
  return cat(
    sums.map((sum) => sum.view([1])),
    0,
  ).sum();
}

function gradients(lossOf: () => Tensor): { result: number; grads: Map<string, Float32Array> } {
  const result = scope(() => {
    const loss = lossOf();
    loss.backward();
    return loss.item();
  });
  return { result, grads: takeGradients() };
}

function learned(
  loss: Loss,
  among: readonly Datum[] = data,
  how: LearnerSettings = settings,
): { result: number; grads: Map<string, Float32Array> } {
  const features = new FeatureCache(model, patches14, 2 ** 20);
  const { loss: result } = forwardBackward({ model, features }, among, loss, how);
  features.dispose();
  return { result, grads: takeGradients() };
}

function takeGradients(): Map<string, Float32Array> {
  const grads = new Map<string, Float32Array>();
  scope(() => {
    for (const [name, parameter] of model.params)
      if (parameter.grad !== null) grads.set(name, parameter.grad.toArray() as Float32Array);
  });
  for (const parameter of model.params.values()) parameter.zeroGrad();
  return grads;
}

function expectClose(
  ours: ReadonlyMap<string, Float32Array>,
  theirs: ReadonlyMap<string, Float32Array>,
): void {
  expect([...ours.keys()].sort()).toEqual([...theirs.keys()].sort());
  for (const [name, expected] of theirs) {
    const actual = ours.get(name)!;
    const scale = Math.max(...expected.map(Math.abs)) || 1;
    const error = Math.max(...actual.map((value, i) => Math.abs(value - expected[i])));
    expect({ name, close: error / scale < 1e-4 }).toEqual({ name, close: true });
  }
}

function randomDatum(seed: number): Datum {
  const random = stream(seed, "datum");
  const image = toModelImage(
    {
      widthPx: 56,
      heightPx: 56,
      data: Uint8Array.from({ length: 56 * 56 * 3 }, () => random.int(0, 255)),
    },
    { minPixels: 56 * 56, maxPixels: 56 * 56 },
    patches14,
  );
  const tokens = (count: number): number[] =>
    Array.from({ length: count }, () => random.int(1, 200));
  const chunks: Chunk[] = [
    { type: "text", tokens: tokens(3) },
    { type: "image", image },
    { type: "text", tokens: tokens(6 + 3 * seed) },
  ];
  const numbers = (next: () => number): Float32Array =>
    Float32Array.from({ length: numPositions(chunks) }, next);
  const answers = 3 + image.numTokens + 2;
  return {
    chunks,
    weights: numbers(() => random.uniform(0.1, 1)).map((w, t) => (t < answers ? 0 : w)),
    oldLogprobs: numbers(() => random.uniform(-7, -5)),
    refLogprobs: numbers(() => random.uniform(-7, -5)),
    advantages: numbers(() => random.normal()),
    importance: numbers(() => random.uniform(0.5, 1.5)),
  };
}
