/**
 * The vision tower's weights packed for our own products, norms' gains and biases with them: features
 * without gradients, on a CPU in float32.
 */
import { rmsNorm } from "../torch/nn.ts";
import { empty, type Tensor } from "../torch/ops.ts";
import {
  packedLinear,
  packedShape,
  packWeights,
  type PackedWeights,
} from "../torch/packed-linear.ts";
import { noGrad, scope } from "../torch/scope.ts";
import { patchDim, mergeUnit } from "./config.ts";
import type { Linear } from "./parameters.ts";
import type { Qwen25VL } from "./qwen2-5-vl.ts";
import {
  forRotation,
  mergeUnits,
  patchWeight,
  towerEpsilon as normEps,
  type TowerProducts,
} from "./vision.ts";

interface PackedBlock {
  readonly heads: PackedWeights;
  readonly output: PackedWeights;
  readonly gateUp: PackedWeights;
  readonly down: PackedWeights;
}

export class PackedTower implements TowerProducts {
  readonly #model: Qwen25VL;
  readonly #embed: PackedWeights;
  readonly #blocks: readonly PackedBlock[];
  readonly #mergerIn: PackedWeights;
  readonly #mergerOut: PackedWeights;

  constructor(model: Qwen25VL) {
    const { vision } = model.config;
    const { hiddenSize, intermediateSize, outHiddenSize } = vision;
    const units = hiddenSize * mergeUnit(vision);
    this.#model = model;
    this.#embed = unfilled(hiddenSize, patchDim(vision));
    this.#blocks = model.vision.blocks.map(() => ({
      heads: unfilled(3 * hiddenSize, hiddenSize),
      output: unfilled(hiddenSize, hiddenSize),
      gateUp: unfilled(intermediateSize, hiddenSize, true),
      down: unfilled(hiddenSize, intermediateSize),
    }));
    this.#mergerIn = unfilled(units, units);
    this.#mergerOut = unfilled(outHiddenSize, units);
    this.refresh();
  }

  /** Takes over the model's present weights, in place. */
  refresh(): void {
    const { vision: tower, config } = this.#model;
    const { hiddenSize, numHeads } = config.vision;
    noGrad(() => {
      for (const [i, packed] of this.#blocks.entries())
        scope(() => {
          const { norm1, qkv, proj, norm2, gate, up, down } = tower.blocks[i];
          packWeights(packed.heads, scaled(forRotation(qkv, hiddenSize / numHeads), norm1));
          packWeights(packed.output, proj);
          packWeights(packed.gateUp, scaled(gate, norm2), scaled(up, norm2));
          packWeights(packed.down, down);
        });
      scope(() => {
        packWeights(this.#embed, { weight: patchWeight(tower, config.vision) });
        packWeights(this.#mergerIn, tower.mergerIn);
        packWeights(this.#mergerOut, tower.mergerOut);
      });
    });
  }

  embed(patches: Tensor): Tensor {
    return packedLinear(patches, this.#embed);
  }

  heads(block: number, x: Tensor): Tensor {
    return packedLinear(x, this.#blocks[block].heads, { normEps });
  }

  output(block: number, mixed: Tensor, residual: Tensor): Tensor {
    return packedLinear(mixed, this.#blocks[block].output, { residual });
  }

  mlp(block: number, x: Tensor): Tensor {
    const { gateUp, down } = this.#blocks[block];
    return packedLinear(packedLinear(x, gateUp, { normEps }), down, { residual: x });
  }

  merge(x: Tensor): Tensor {
    const { mergerNorm } = this.#model.vision;
    const units = mergeUnits(rmsNorm(x, mergerNorm, normEps), this.#model.config.vision);
    return packedLinear(packedLinear(units, this.#mergerIn).gelu(), this.#mergerOut);
  }

  dispose(): void {
    const blocks = this.#blocks.flatMap((block) => Object.values(block) as PackedWeights[]);
    for (const { panels } of [this.#embed, ...blocks, this.#mergerIn, this.#mergerOut])
      panels.dispose();
  }
}

function unfilled(width: number, depth: number, gated = false): PackedWeights {
  return { panels: empty(packedShape(width, depth, gated)).keep(), width, gated };
}

/** A projection of rows that a norm's gain has not yet multiplied. */
function scaled({ weight, bias }: Linear, gain: Tensor): Linear {
  return { weight: weight.mul(gain), bias };
}
