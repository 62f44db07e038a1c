/**
 * The vision tower's weights packed for our own products, gains of RMS norms and biases with them:
 * features without gradients, on a CPU in float32. Layer norms are libtorch's.
 */
import { empty, type Tensor } from "../torch/ops.ts";
import {
  packedLinear,
  packedShape,
  packWeights,
  type PackedWeights,
} from "../torch/packed-linear.ts";
import { noGrad, scope } from "../torch/scope.ts";
import { effectiveWeight } from "./adapter.ts";
import { patchDim, mergeUnit } from "./config.ts";
import { giveUp, normed, type Linear, type Norm } from "./layers.ts";
import type { Grid } from "./rope.ts";
import type { VisionLanguageModel } from "./vision-language-model.ts";
import {
  activated,
  forRotation,
  mergerInput,
  patchMatrix,
  towerEpsilon,
  withPositions,
  type TowerProducts,
} from "./vision.ts";

interface PackedBlock {
  readonly heads: PackedWeights;
  readonly output: PackedWeights;
  /** Gates and ups together where the MLP is gated. */
  readonly up: PackedWeights;
  readonly down: PackedWeights;
}

interface PackedMerger {
  readonly into: PackedWeights;
  readonly out: PackedWeights;
}

export class PackedTower implements TowerProducts {
  readonly #model: VisionLanguageModel;
  readonly #embed: PackedWeights;
  readonly #blocks: readonly PackedBlock[];
  readonly #mergers: readonly PackedMerger[];

  /** @param replaces packed weights take the place of the model's, which cannot change any more */
  constructor(model: VisionLanguageModel, replaces = false) {
    const { vision } = model.config;
    const { hiddenSize, intermediateSize, outHiddenSize } = vision;
    const units = hiddenSize * mergeUnit(vision);
    this.#model = model;
    this.#embed = unfilled(hiddenSize, patchDim(vision));
    this.#blocks = model.vision.blocks.map(({ gate }) => ({
      heads: unfilled(3 * hiddenSize, hiddenSize),
      output: unfilled(hiddenSize, hiddenSize),
      up: unfilled(intermediateSize, hiddenSize, gate !== undefined),
      down: unfilled(hiddenSize, intermediateSize),
    }));
    this.#mergers = model.vision.mergers.map(() => ({
      into: unfilled(units, units),
      out: unfilled(outHiddenSize, units),
    }));
    this.#pack(replaces);
  }

  /** Takes over the model's present weights, in place. */
  refresh(): void {
    this.#pack(false);
  }

  #pack(replaces: boolean): void {
    const { vision: tower, config } = this.#model;
    const { hiddenSize, numHeads } = config.vision;
    noGrad(() => {
      for (const [i, packed] of this.#blocks.entries())
        scope(() => {
          const { norm1, qkv, proj, norm2, gate, up, down } = tower.blocks[i];
          packWeights(packed.heads, scaled(forRotation(whole(qkv), hiddenSize / numHeads), norm1));
          packWeights(packed.output, whole(proj));
          const inner = gate === undefined ? [up] : [gate, up];
          packWeights(packed.up, ...inner.map((linear) => scaled(whole(linear), norm2)));
          packWeights(packed.down, whole(down));
          if (replaces) giveUp([qkv, proj, gate, up, down]);
        });
      scope(() => packWeights(this.#embed, patchMatrix(tower, config.vision)));
      for (const [i, { into, out }] of this.#mergers.entries())
        scope(() => {
          packWeights(into, whole(tower.mergers[i].into));
          packWeights(out, whole(tower.mergers[i].out));
          if (replaces) giveUp([tower.mergers[i].into, tower.mergers[i].out]);
        });
    });
  }

  embed(patches: Tensor, grids: readonly Grid[]): Tensor {
    const { vision, config } = this.#model;
    return withPositions(packedLinear(patches, this.#embed), vision, config.vision, grids);
  }

  heads(block: number, x: Tensor): Tensor {
    return this.#ofNormed(x, this.#model.vision.blocks[block].norm1, this.#blocks[block].heads);
  }

  output(block: number, mixed: Tensor, residual: Tensor): Tensor {
    return packedLinear(mixed, this.#blocks[block].output, { residual });
  }

  mlp(block: number, x: Tensor): Tensor {
    const { up, down } = this.#blocks[block];
    const wide = this.#ofNormed(x, this.#model.vision.blocks[block].norm2, up);
    const inner = up.gated === true ? wide : activated(wide, this.#model.config.vision);
    return packedLinear(inner, down, { residual: x });
  }

  merge(merger: number, x: Tensor): Tensor {
    const { vision, config } = this.#model;
    const { into, out } = this.#mergers[merger];
    const units = mergerInput(vision, config.vision, merger, x);
    return packedLinear(packedLinear(units, into).gelu(), out);
  }

  dispose(): void {
    const parts = [...this.#blocks, ...this.#mergers].flatMap(
      (part) => Object.values(part) as PackedWeights[],
    );
    for (const { panels } of [this.#embed, ...parts]) panels.dispose();
  }

  /** Weights times normed rows; the gain of an RMS norm is in the weights. */
  #ofNormed(x: Tensor, norm: Norm, weights: PackedWeights): Tensor {
    if (norm.bias === undefined) return packedLinear(x, weights, { normEps: towerEpsilon });
    return packedLinear(normed(x, norm, towerEpsilon), weights);
  }
}

function unfilled(width: number, depth: number, gated = false): PackedWeights {
  return { panels: empty(packedShape(width, depth, gated)).keep(), width, gated };
}

/** A layer with what its adapter adds. */
function whole(layer: Linear): Linear {
  return { weight: effectiveWeight(layer), bias: layer.bias };
}

/** A projection of rows that an RMS norm's gain has not yet multiplied. */
function scaled({ weight, bias }: Linear, norm: Norm): Linear {
  return norm.bias === undefined ? { weight: weight.mul(norm.weight), bias } : { weight, bias };
}
