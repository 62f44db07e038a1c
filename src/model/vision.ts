/**
 * The vision tower of Qwen2.5-VL: flattened patches through a linear embedding, pre-norm blocks that
 * attend within windows (a few over the whole image), and a merger that turns every 2×2 patches into
 * one language position. All images of a call run as one flat batch; nothing is permuted where every
 * image fits into one window. Only still images: frames of a video would attend one by one, as
 * published, but nothing above makes them. What it computes besides attention comes in two forms with one
 * face: here in libtorch's operators, with gradients, and in vision-packed.ts for features alone.
 * Legend: P patches in all, U = P / 4 merged positions, C width, I grids.
 */
import { linear, rmsNorm, swiglu } from "../torch/nn.ts";
import { cat, type Tensor } from "../torch/ops.ts";
import { scope } from "../torch/scope.ts";
import { tensor, type Device } from "../torch/tensor.ts";
import { attendSegments, interleaved, segment } from "./attention.ts";
import { mergeUnit, patchDim, type VisionConfig } from "./config.ts";
import { getLinear, getParameter, type Linear, type Parameters } from "./parameters.ts";
import type { Grid } from "./rope.ts";
import type { Rotary } from "./rotary.ts";
import { inverseOrder, planWindows } from "./windows.ts";

/** Epsilon of the tower's norms; fixed in the published model, not part of its configuration. */
export const towerEpsilon = 1e-6;

export interface VisionBlock {
  readonly norm1: Tensor;
  readonly qkv: Linear;
  readonly proj: Linear;
  readonly norm2: Tensor;
  readonly gate: Linear;
  readonly up: Linear;
  readonly down: Linear;
}

export interface VisionTower {
  readonly patchEmbed: Tensor;
  readonly blocks: readonly VisionBlock[];
  readonly mergerNorm: Tensor;
  readonly mergerIn: Linear;
  readonly mergerOut: Linear;
}

export function visionTower(parameters: Parameters, config: VisionConfig): VisionTower {
  return {
    patchEmbed: getParameter(parameters, "visual.patch_embed.proj.weight"),
    blocks: Array.from({ length: config.depth }, (_, i) => {
      const block = `visual.blocks.${i}`;
      return {
        norm1: getParameter(parameters, `${block}.norm1.weight`),
        qkv: getLinear(parameters, `${block}.attn.qkv`),
        proj: getLinear(parameters, `${block}.attn.proj`),
        norm2: getParameter(parameters, `${block}.norm2.weight`),
        gate: getLinear(parameters, `${block}.mlp.gate_proj`),
        up: getLinear(parameters, `${block}.mlp.up_proj`),
        down: getLinear(parameters, `${block}.mlp.down_proj`),
      };
    }),
    mergerNorm: getParameter(parameters, "visual.merger.ln_q.weight"),
    mergerIn: getLinear(parameters, "visual.merger.mlp.0"),
    mergerOut: getLinear(parameters, "visual.merger.mlp.2"),
  };
}

/** What the tower computes besides attention. */
export interface TowerProducts {
  /** Rows [P, C] of patches [P, patchDim]. */
  embed(patches: Tensor): Tensor;
  /** Heads of a block's normed input, queries and keys `interleaved`: [P, 3 C]. */
  heads(block: number, x: Tensor): Tensor;
  /** The output projection of mixed heads, added to `residual`; [P, C] all three. */
  output(block: number, mixed: Tensor, residual: Tensor): Tensor;
  /** SwiGLU of the normed input [P, C], added to it. */
  mlp(block: number, x: Tensor): Tensor;
  /** Features [U, outHiddenSize] of the last block's output [P, C]. */
  merge(x: Tensor): Tensor;
}

/**
 * Encodes images.
 * @param patches [P, patchDim] of all images one after another, in the processor's merge order
 * @returns features [U, outHiddenSize] in the language model's raster order
 */
export function encodePatches(
  products: TowerProducts,
  config: VisionConfig,
  rotary: Rotary,
  patches: Tensor,
  grids: readonly Grid[],
): Tensor {
  const { device } = patches;
  const plan = planWindows(grids, config);
  const numPatches = plan.rows.length;
  if (patches.shape[0] !== numPatches || patches.shape[1] !== patchDim(config)) {
    throw new Error(
      `patches [${patches.shape.join(", ")}] for grids of [${numPatches}, ${patchDim(config)}]`,
    );
  }
  let x = products.embed(patches);
  if (!plan.identity) x = permuteUnits(x, plan.order, mergeUnit(config), device);
  const factors = rotary.at([plan.rows, plan.columns]);
  const windows = segment(plan.windowLengths, device);
  const whole = sameLengths(plan.windowLengths, plan.imageLengths)
    ? windows
    : segment(plan.imageLengths, device);
  const counts = { numHeads: config.numHeads, numKeyValueHeads: config.numHeads };
  for (let block = 0; block < config.depth; block++) {
    const segments = config.fullAttentionBlocks.includes(block) ? whole : windows;
    const input = x;
    x = scope(() => {
      const heads = products.heads(block, input);
      const mixed = attendSegments(heads, factors, counts, segments, false);
      return products.mlp(block, products.output(block, mixed, input));
    });
  }
  const features = products.merge(x);
  if (plan.identity) return features;
  const inverse = tensor(inverseOrder(plan.order), { dtype: "int64", device });
  return features.indexSelect(0, inverse);
}

/** The tower's products in libtorch's operators. */
export function plainProducts(tower: VisionTower, config: VisionConfig): TowerProducts {
  const headDim = config.hiddenSize / config.numHeads;
  return {
    embed(patches) {
      const weight = patchWeight(tower, config);
      return linear(patches.to(weight.dtype), weight);
    },
    heads(block, x) {
      const { norm1, qkv } = tower.blocks[block];
      const { weight, bias } = forRotation(qkv, headDim);
      return linear(rmsNorm(x, norm1, towerEpsilon), weight, bias);
    },
    output(block, mixed, residual) {
      const { proj } = tower.blocks[block];
      return residual.add(linear(mixed, proj.weight, proj.bias));
    },
    mlp(block, x) {
      const { norm2, gate, up, down } = tower.blocks[block];
      const bias = gate.bias && up.bias && cat([gate.bias, up.bias], 0);
      const inner = rmsNorm(x, norm2, towerEpsilon);
      const wide = linear(inner, cat([gate.weight, up.weight], 0), bias);
      return x.add(linear(swiglu(wide), down.weight, down.bias));
    },
    merge(x) {
      const { mergerNorm, mergerIn, mergerOut } = tower;
      const units = mergeUnits(rmsNorm(x, mergerNorm, towerEpsilon), config);
      const hidden = linear(units, mergerIn.weight, mergerIn.bias).gelu();
      return linear(hidden, mergerOut.weight, mergerOut.bias);
    },
  };
}

/** The patch embedding as a matrix, [C, patchDim]. */
export function patchWeight({ patchEmbed }: VisionTower, config: VisionConfig): Tensor {
  return patchEmbed.view([config.hiddenSize, patchDim(config)]);
}

/** Rows [P, C] as merged positions [U, 4 C]. */
export function mergeUnits(x: Tensor, config: VisionConfig): Tensor {
  return x.view([-1, config.hiddenSize * mergeUnit(config)]);
}

/** The projection to q, k and v with the rows of q and k `interleaved`. */
export function forRotation({ weight, bias }: Linear, headDim: number): Linear {
  const turned = (rows: Tensor): Tensor => {
    const third = rows.shape[0] / 3;
    const [queriesKeys, values] = rows.splitWithSizes([2 * third, third], 0);
    return cat([interleaved(queriesKeys, headDim), values], 0);
  };
  return { weight: turned(weight), bias: bias && turned(bias) };
}

function permuteUnits(x: Tensor, order: Int32Array, unit: number, device: Device): Tensor {
  const width = x.shape[1];
  const index = tensor(order, { dtype: "int64", device });
  return x
    .view([-1, unit * width])
    .indexSelect(0, index)
    .view([-1, width]);
}

function sameLengths(a: readonly number[], b: readonly number[]): boolean {
  return a.length === b.length && a.every((length, i) => length === b[i]);
}
