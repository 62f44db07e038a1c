/**
 * The vision tower of Qwen2.5-VL: flattened patches through a linear embedding, pre-norm blocks that
 * attend within windows (a few over the whole image), and a merger that turns every 2×2 patches into
 * one language position. All images of a call run as one flat batch; nothing is permuted where every
 * image fits into one window. Only still images: frames of a video would attend one by one, as
 * published, but nothing above makes them.
 * Legend: P patches in all, U = P / 4 merged positions, C width, I grids.
 */
import { linear, rmsNorm, swiglu } from "../torch/nn.ts";
import { cat, type Tensor } from "../torch/ops.ts";
import { scope } from "../torch/scope.ts";
import { tensor, type Device } from "../torch/tensor.ts";
import { attendSegments, interleaved, segment, type Segments } from "./attention.ts";
import { mergeUnit, patchDim, type VisionConfig } from "./config.ts";
import { getLinear, getParameter, type Linear, type Parameters } from "./parameters.ts";
import type { Grid } from "./rope.ts";
import type { Rotary } from "./rotary.ts";
import { inverseOrder, planWindows } from "./windows.ts";

/** Epsilon of the tower's norms; fixed in the published model, not part of its configuration. */
const epsilon = 1e-6;

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

/**
 * Encodes images.
 * @param patches [P, patchDim] of all images one after another, in the processor's merge order
 * @returns features [U, outHiddenSize] in the language model's raster order
 */
export function encodePatches(
  tower: VisionTower,
  config: VisionConfig,
  rotary: Rotary,
  patches: Tensor,
  grids: readonly Grid[],
): Tensor {
  const { device } = patches;
  const unit = mergeUnit(config);
  const plan = planWindows(grids, config);
  const numPatches = plan.rows.length;
  if (patches.shape[0] !== numPatches || patches.shape[1] !== patchDim(config)) {
    throw new Error(
      `patches [${patches.shape.join(", ")}] for grids of [${numPatches}, ${patchDim(config)}]`,
    );
  }
  const width = config.hiddenSize;
  const weight = tower.patchEmbed.view([width, patchDim(config)]);
  let x = linear(patches.to(weight.dtype), weight);
  if (!plan.identity) x = permuteUnits(x, plan.order, unit, device);
  const factors = rotary.at([plan.rows, plan.columns]);
  const windows = segment(plan.windowLengths, device);
  const whole = sameLengths(plan.windowLengths, plan.imageLengths)
    ? windows
    : segment(plan.imageLengths, device);
  for (const [i, block] of tower.blocks.entries()) {
    const segments = config.fullAttentionBlocks.includes(i) ? whole : windows;
    const input = x;
    x = scope(() => blockForward(block, config, input, factors, segments));
  }
  const merged = rmsNorm(x, tower.mergerNorm, epsilon).view([-1, width * unit]);
  const hidden = linear(merged, tower.mergerIn.weight, tower.mergerIn.bias).gelu();
  const features = linear(hidden, tower.mergerOut.weight, tower.mergerOut.bias);
  if (plan.identity) return features;
  const inverse = tensor(inverseOrder(plan.order), { dtype: "int64", device });
  return features.indexSelect(0, inverse);
}

function blockForward(
  block: VisionBlock,
  config: VisionConfig,
  x: Tensor,
  factors: Tensor,
  segments: Segments,
): Tensor {
  const heads = config.numHeads;
  const size = config.hiddenSize / heads;
  const normed = rmsNorm(x, block.norm1, epsilon);
  const weight = forRotation(block.qkv.weight, size);
  const bias = block.qkv.bias && forRotation(block.qkv.bias, size);
  const qkv = linear(normed, weight, bias);
  const counts = { numHeads: heads, numKeyValueHeads: heads };
  const mixed = attendSegments(qkv, factors, counts, segments, false);
  const attended = x.add(linear(mixed, block.proj.weight, block.proj.bias));
  const inner = rmsNorm(attended, block.norm2, epsilon);
  const { gate, up, down } = block;
  const wideBias = gate.bias && up.bias && cat([gate.bias, up.bias], 0);
  const wide = linear(inner, cat([gate.weight, up.weight], 0), wideBias);
  return attended.add(linear(swiglu(wide), down.weight, down.bias));
}

/** Rows of q, k and v with those of q and k as `rotate` takes them. */
function forRotation(rows: Tensor, headDim: number): Tensor {
  const third = rows.shape[0] / 3;
  const [queriesKeys, values] = rows.splitWithSizes([2 * third, third], 0);
  return cat([interleaved(queriesKeys, headDim), values], 0);
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
