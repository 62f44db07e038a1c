/**
 * A train step of a model folder for `bench -- torch`: 64 conversations of one image and 40 to 60 text
 * tokens each, loss on the last 24, everything trained. The model's own path, without the engine: what
 * a step costs on tensors.
 */
import { planBatch, flatRow, type Batch } from "../src/model/batch.ts";
import { patchDim } from "../src/model/config.ts";
import { loadModelFolder } from "../src/model/folder.ts";
import type { VisionLanguageModel } from "../src/model/vision-language-model.ts";
import { crossEntropy } from "../src/torch/nn.ts";
import { rand, type Tensor } from "../src/torch/ops.ts";
import { AdamW } from "../src/torch/optim.ts";
import { scope } from "../src/torch/scope.ts";
import { tensor, type Device } from "../src/torch/tensor.ts";

const numSamples = 64;
const numScored = 24;
/** 112×112 pixels. */
const grid = { t: 1, h: 8, w: 8 };
const numTokens = 16;

interface Sample {
  readonly before: number[];
  readonly after: number[];
}

export class VlmStep {
  readonly model: VisionLanguageModel;
  readonly samples: readonly Sample[];
  /** [P, patchDim] of all images. */
  readonly patches: Tensor;
  readonly #optimizer: AdamW;

  private constructor(model: VisionLanguageModel) {
    this.model = model;
    this.samples = Array.from({ length: numSamples }, (_, s) => ({
      before: [1, 2, 3, 4].map((n) => n + s),
      after: Array.from({ length: 36 + ((s * 7) % 21) }, (_, i) => (i * i * 3 + s * 11) % 500),
    }));
    const shape = [numSamples * grid.h * grid.w, patchDim(model.config.vision)];
    this.patches = scope(() => rand(shape).sub(0.5).mul(4).to(model.device)).keep();
    this.#optimizer = new AdamW([{ parameters: model.setTrainable("all") }]);
  }

  static async open(
    folder: string,
    options: { device: Device; dtype: "float32" | "bfloat16" },
  ): Promise<VlmStep> {
    return new VlmStep(await loadModelFolder(folder, options));
  }

  /** One step on all samples; the mean loss before it. */
  step(learningRate: number): number {
    return scope(() => {
      const { model } = this;
      const batch = this.#plan();
      const rows: number[] = [];
      const targets: number[] = [];
      for (const [s, { after }] of this.samples.entries())
        for (let k = 0; k < numScored; k++) {
          rows.push(flatRow(batch, s, batch.lengths[s] - numScored + k - 1));
          targets.push(after[after.length - numScored + k]);
        }
      const grids = batch.images.map((image) => image.grid);
      const features = model.encodePatches(this.patches, grids);
      const hidden = model.hidden(batch, { features, rows: Int32Array.from(rows) });
      const wanted = tensor(targets, { dtype: "int64", device: model.device });
      const loss = crossEntropy(model.logits(hidden), wanted);
      loss.backward();
      this.#optimizer.step(learningRate);
      this.#optimizer.zeroGrad();
      return loss.item();
    });
  }

  #plan(): Batch {
    const sequences = this.samples.map(({ before, after }, s) => [
      { type: "text" as const, tokens: before },
      { type: "image" as const, image: { hash: `${s}`, grid, numTokens } },
      { type: "text" as const, tokens: after },
    ]);
    return planBatch(sequences, this.model.config);
  }
}

/** The same samples as transformers takes them: padded on the right, -100 where nothing is scored. */
export function vlmData({ model, samples, patches }: VlmStep): Map<string, Tensor> {
  const rows = samples.map(({ before, after }) => {
    const image = Array.from({ length: numTokens }, () => model.config.imageTokenId);
    return [...before, ...image, ...after];
  });
  const longest = Math.max(...rows.map((row) => row.length));
  const padded = (of: (row: number[]) => number[], fill: number): Tensor => {
    const flat = rows.flatMap((row) => {
      return [...of(row), ...Array.from({ length: longest - row.length }, () => fill)];
    });
    return tensor(flat, { dtype: "int64", shape: [rows.length, longest] });
  };
  const grids = rows.flatMap(() => [grid.t, grid.h, grid.w]);
  return new Map([
    ["vlm.input_ids", padded((row) => row, 0)],
    ["vlm.attention_mask", padded((row) => row.map(() => 1), 0)],
    [
      "vlm.labels",
      padded((row) => row.map((id, t) => (t < row.length - numScored ? -100 : id)), -100),
    ],
    ["vlm.image_grid_thw", tensor(grids, { dtype: "int64", shape: [rows.length, 3] })],
    ["vlm.pixel_values", patches],
  ]);
}
