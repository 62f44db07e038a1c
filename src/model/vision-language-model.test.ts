import { afterEach, describe, expect, it } from "vitest";
import { testDevice } from "../../test/fixtures/device.ts";
import { liveTensors, noGrad, scope } from "../torch/scope.ts";
import { crossEntropy } from "../torch/nn.ts";
import { zeros } from "../torch/ops.ts";
import { tensor } from "../torch/tensor.ts";
import { flatRow, planBatch, type Batch } from "./batch.ts";
import {
  array,
  goldenNames,
  goldenPatches,
  maxDifference,
  readGolden,
  relativeDifference,
  type Golden,
} from "./fixtures/golden.ts";
import { loadModelFolder } from "./folder.ts";
import { canonicalName, getParameter } from "./parameters.ts";
import type { VisionLanguageModel } from "./vision-language-model.ts";

let model: VisionLanguageModel | undefined;
afterEach(() => {
  model?.dispose();
  model = undefined;
});

async function open(name: string): Promise<{ model: VisionLanguageModel; golden: Golden }> {
  const golden = readGolden(name);
  model = await loadModelFolder(golden.folder, { device: testDevice });
  return { model, golden };
}

/** Flat rows that predict a text token, and those tokens. */
function predictions(batch: Batch, imageTokenId: number): [rows: Int32Array, targets: Int32Array] {
  const rows: number[] = [];
  const targets: number[] = [];
  for (const [s, length] of batch.lengths.entries()) {
    for (let t = 1; t < length; t++) {
      const token = batch.tokens[flatRow(batch, s, t)];
      if (token === imageTokenId) continue;
      rows.push(flatRow(batch, s, t - 1));
      targets.push(token);
    }
  }
  return [Int32Array.from(rows), Int32Array.from(targets)];
}

function batchLogits(
  model: VisionLanguageModel,
  golden: Golden,
  chosen: number[],
  layout?: "padded" | "separate",
): { batch: Batch; logits: number[][] } {
  return noGrad(() =>
    scope(() => {
      const sequences = chosen.map((s) => golden.sequences[s]);
      const batch = planBatch(sequences, model.config);
      const features =
        batch.images.length === 0
          ? undefined
          : model.encodeImages(batch.images, goldenPatches(golden));
      const flat = model.logits(model.hidden(batch, { features, layout })).toNumbers();
      const width = model.config.text.vocabSize;
      const logits = batch.lengths.map((length, i) =>
        flat.slice(batch.offsets[i] * width, (batch.offsets[i] + length) * width),
      );
      return { batch, logits };
    }),
  );
}

describe.each(goldenNames)("the model against transformers, %s", (name) => {
  it("counts M-RoPE positions alike", async () => {
    const { model, golden } = await open(name);
    const batch = planBatch(golden.sequences, model.config);
    for (const [s, axes] of golden.positions.entries()) {
      for (let axis = 0; axis < 3; axis++) {
        const start = batch.offsets[s];
        const mine = batch.axes[axis].slice(start, start + batch.lengths[s]);
        expect([...mine]).toEqual(axes[axis]);
      }
      expect(batch.next[s]).toBe(Math.max(...axes.flat()) + 1);
    }
  });

  it("encodes images alike", async () => {
    const { model, golden } = await open(name);
    const images = golden.sequences.flat().flatMap((c) => (c.type === "image" ? [c.image] : []));
    const features = noGrad(() => scope(() => model.encodeImages(images, goldenPatches(golden))));
    expect(maxDifference(features.toNumbers(), array(golden, "features"))).toBeLessThan(1e-4);
    features.dispose();
  });

  it.each(["padded", "separate"] as const)("gives the same logits, batched %s", async (layout) => {
    const { model, golden } = await open(name);
    const all = golden.sequences.map((_, s) => s);
    const { logits } = batchLogits(model, golden, all, layout);
    for (const s of all)
      expect(maxDifference(logits[s], array(golden, `logits.${s}`))).toBeLessThan(1e-4);
  });

  it("gives the same logits one by one", async () => {
    const { model, golden } = await open(name);
    for (const s of golden.sequences.keys()) {
      const { logits } = batchLogits(model, golden, [s]);
      expect(maxDifference(logits[0], array(golden, `logits.${s}`))).toBeLessThan(1e-4);
    }
  });

  it("gives the same loss and gradient of every parameter, from the wanted rows alone", async () => {
    const { model, golden } = await open(name);
    model.setTrainable("all");
    const batch = planBatch(golden.sequences, model.config);
    const [rows, targets] = predictions(batch, model.config.imageTokenId);
    scope(() => {
      const features = model.encodeImages(batch.images, goldenPatches(golden));
      const hidden = model.hidden(batch, { features, rows });
      const loss = crossEntropy(model.logits(hidden), tensor(targets, { device: testDevice }), {
        reduction: "sum",
      });
      loss.backward();
      expect(Math.abs(loss.item() / golden.loss - 1)).toBeLessThan(1e-5);
      const graded = [...golden.arrays.keys()].filter((key) => key.startsWith("grad."));
      expect(graded.length).toBe(model.params.size);
      const wrong = graded.filter((key) => {
        const { grad } = getParameter(model.params, canonicalName(key.slice("grad.".length)));
        return !(relativeDifference(grad?.toNumbers() ?? [], array(golden, key)) < 1e-3);
      });
      expect(wrong).toEqual([]);
    });
    for (const parameter of model.params.values()) parameter.zeroGrad();
  });
});

describe("VisionLanguageModel", () => {
  it("answers at chosen rows as it does at all of them", async () => {
    const { model, golden } = await open("windows");
    const batch = planBatch(golden.sequences, model.config);
    const rows = Int32Array.from([3, 0, 17]);
    scope(() => {
      const features = model.encodeImages(batch.images, goldenPatches(golden));
      const some = model.logits(model.hidden(batch, { features, rows })).toNumbers();
      const all = model.logitsAt(model.hidden(batch, { features }), rows).toNumbers();
      expect(maxDifference(some, all)).toBeLessThan(1e-5);
    });
  });

  it("trains the language model alone when the tower is frozen", async () => {
    const { model } = await open("tied");
    const trained = model.setTrainable("language");
    expect([...trained.keys()].some((key) => key.startsWith("visual."))).toBe(false);
    expect(trained.size).toBeGreaterThan(0);
    expect(model.setTrainable("none").size).toBe(0);
  });

  it("clones into memory of its own and copies weights back", async () => {
    const { model, golden } = await open("tied");
    const before = batchLogits(model, golden, [0]).logits[0];
    const copy = model.clone();
    noGrad(() => getParameter(model.params, "model.norm.weight").mul_(2));
    expect(batchLogits(copy, golden, [0]).logits[0]).toEqual(before);
    expect(batchLogits(model, golden, [0]).logits[0]).not.toEqual(before);
    model.copyFrom(copy.params);
    expect(batchLogits(model, golden, [0]).logits[0]).toEqual(before);
    copy.dispose();
  });

  // Counted as skipped where libtorch multiplies no float16 on a CPU (1.13).
  for (const [name, dtype] of [
    ["windows", "bfloat16"],
    ["windows", "float16"],
    ["qwen2vl", "bfloat16"],
    ["qwen3vl", "bfloat16"],
    ["qwen3vl", "float16"],
  ] as const)
    it.skipIf(dtype === "float16" && !multipliesHalf())(
      `computes in ${dtype} near its float32 self (${name})`,
      async () => {
        const { model: wide, golden } = await open(name);
        const exact = batchLogits(wide, golden, [0]).logits[0];
        const narrow = await loadModelFolder(golden.folder, { dtype, device: testDevice });
        const rounded = batchLogits(narrow, golden, [0]).logits[0];
        expect(relativeDifference(rounded, exact)).toBeLessThan(dtype === "float16" ? 0.006 : 0.05);
        narrow.dispose();
      },
    );

  it.each(["windows", "qwen3vl", "qwen3vlmoe"])(
    "leaves no tensors behind after a step, nor after its own end (%s)",
    async (name) => {
      const before = liveTensors();
      const { model: opened, golden } = await open(name);
      opened.setTrainable("all");
      const step = (): number => {
        const batch = planBatch(golden.sequences, opened.config);
        const [rows, targets] = predictions(batch, opened.config.imageTokenId);
        scope(() => {
          const features = opened.encodeImages(batch.images, goldenPatches(golden));
          const logits = opened.logits(opened.hidden(batch, { features, rows }));
          crossEntropy(logits, tensor(targets, { device: testDevice })).backward();
        });
        for (const parameter of opened.params.values()) parameter.zeroGrad();
        return liveTensors();
      };
      const first = step();
      expect(step()).toBe(first);
      opened.dispose();
      model = undefined;
      expect(liveTensors()).toBe(before);
    },
  );
});

function multipliesHalf(): boolean {
  try {
    const options = { dtype: "float16", device: testDevice } as const;
    scope(() => zeros([1, 1], options).mm(zeros([1, 1], options)));
    return true;
  } catch {
    return false;
  }
}
