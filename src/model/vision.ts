/**
 * The vision tower: flattened patches through a linear embedding, pre-norm blocks that attend within
 * windows or over the whole image, and a merger that turns every 2×2 patches into one language position.
 * The configuration says which norms, which MLP, whether positions are learned too, and whether earlier
 * blocks are merged as well (deepstack); their features stand side by side with the last one's. All
 * images of a call run as one flat batch; nothing is permuted where every image fits into one window.
 * Only still images: frames of a video would attend one by one, as published, but nothing above makes
 * them. What it computes besides attention comes in two forms with one face: here in libtorch's
 * operators, with gradients, and in vision-packed.ts for features alone.
 * Legend: P patches in all, U = P / 4 merged positions, C width, H width of a feature, K deepstack blocks.
 */
import { linear, swiglu } from "../torch/nn.ts";
import { cat, type Tensor } from "../torch/ops.ts";
import { keptSteps, type Steps } from "../torch/steps.ts";
import { tensor, type Device } from "../torch/tensor.ts";
import { attendSegments, interleaved, segment } from "./attention.ts";
import { mergeUnit, patchDim, type VisionConfig } from "./config.ts";
import type { TowerNames } from "./families/family.ts";
import {
  normed,
  project,
  projectJoined,
  takeLinear,
  takeNorm,
  type Linear,
  type Norm,
  type Take,
} from "./layers.ts";
import { learnedPositions } from "./learned-positions.ts";
import type { Grid } from "./rope.ts";
import type { Rotary } from "./rotary.ts";
import { inverseOrder, planWindows } from "./windows.ts";

/** Epsilon of the tower's norms; fixed in the published models, not part of their configurations. */
export const towerEpsilon = 1e-6;

export interface VisionBlock<T = Tensor> {
  readonly norm1: Norm<T>;
  readonly qkv: Linear<T>;
  readonly proj: Linear<T>;
  readonly norm2: Norm<T>;
  /** Where the MLP is gated. */
  readonly gate?: Linear<T>;
  readonly up: Linear<T>;
  readonly down: Linear<T>;
}

export interface Merger<T = Tensor> {
  readonly norm: Norm<T>;
  readonly into: Linear<T>;
  readonly out: Linear<T>;
}

export interface VisionTower<T = Tensor> {
  readonly patchEmbed: Linear<T>;
  /** Learned positions, a square table of rows [C]. */
  readonly positions?: T;
  readonly blocks: readonly VisionBlock<T>[];
  /** Of the last block; then, by deepstack block, those whose norm is over a merged position. */
  readonly mergers: readonly Merger<T>[];
}

export function visionTower<T>(
  take: Take<T>,
  config: VisionConfig,
  names: TowerNames,
): VisionTower<T> {
  const { hiddenSize: width, intermediateSize, temporalPatchSize, patchSize } = config;
  const hasBias = config.norm === "layer";
  const patch = [temporalPatchSize, patchSize, patchSize];
  const embed = "visual.patch_embed.proj";
  const patchEmbed = {
    weight: take(`${embed}.weight`, [width, config.inChannels, ...patch]),
    bias: config.patchBias ? take(`${embed}.bias`, [width]) : undefined,
  };
  const positions =
    config.positionsSide === 0
      ? undefined
      : take("visual.pos_embed.weight", [config.positionsSide ** 2, width]);
  const block = (name: string): VisionBlock<T> => {
    const mlp = (layer: string, out: number, input: number) =>
      takeLinear(take, `${name}.mlp.${layer}`, [out, input], true);
    return {
      norm1: takeNorm(take, `${name}.norm1`, width, hasBias),
      qkv: takeLinear(take, `${name}.attn.qkv`, [3 * width, width], true),
      proj: takeLinear(take, `${name}.attn.proj`, [width, width], true),
      norm2: takeNorm(take, `${name}.norm2`, width, hasBias),
      gate: names.gate === undefined ? undefined : mlp(names.gate, intermediateSize, width),
      up: mlp(names.up, intermediateSize, width),
      down: mlp(names.down, width, intermediateSize),
    };
  };
  const unit = width * mergeUnit(config);
  const merger = (name: string, normWidth: number): Merger<T> => ({
    norm: takeNorm(take, `${name}.${names.mergerNorm}`, normWidth, hasBias),
    into: takeLinear(take, `${name}.${names.mergerIn}`, [unit, unit], true),
    out: takeLinear(take, `${name}.${names.mergerOut}`, [config.outHiddenSize, unit], true),
  });
  const blocks = Array.from({ length: config.depth }, (_, i) => block(`visual.blocks.${i}`));
  const last = merger("visual.merger", width);
  const deep = config.deepstackBlocks.map((_, k) =>
    merger(`visual.deepstack_merger_list.${k}`, unit),
  );
  return { patchEmbed, positions, blocks, mergers: [last, ...deep] };
}

/** What the tower computes besides attention. */
export interface TowerProducts {
  /** Rows [P, C] of patches [P, patchDim] of these grids. */
  embed(patches: Tensor, grids: readonly Grid[]): Tensor;
  /** Heads of a block's normed input, queries and keys `interleaved`: [P, 3 C]. */
  heads(block: number, x: Tensor): Tensor;
  /** The output projection of mixed heads, added to `residual`; [P, C] all three. */
  output(block: number, mixed: Tensor, residual: Tensor): Tensor;
  /** The MLP of the normed input [P, C], added to it. */
  mlp(block: number, x: Tensor): Tensor;
  /** Features [U, H] of a block's output [P, C]: merger 0 is the last one's. */
  merge(merger: number, x: Tensor): Tensor;
}

/** What the tower makes of patches. */
export interface TowerRun {
  /** As `encodePatches` says. */
  readonly features: Tensor;
  /** Rows that the first block reads, [P, C]. */
  readonly embedded: Tensor;
}

/**
 * Encodes images.
 * @param patches [P, patchDim] of all images one after another, in the processor's merge order
 * @param steps how blocks and mergers are kept for the backward pass
 * @returns features in the language model's raster order, [U, (1 + K) · H]: those of the last block,
 *   then by deepstack block
 */
export function encodePatches(
  products: TowerProducts,
  config: VisionConfig,
  rotary: Rotary,
  patches: Tensor,
  grids: readonly Grid[],
  steps: Steps = keptSteps,
): TowerRun {
  const { device } = patches;
  const plan = planWindows(grids, config);
  const numPatches = plan.rows.length;
  if (patches.shape[0] !== numPatches || patches.shape[1] !== patchDim(config)) {
    throw new Error(
      `patches [${patches.shape.join(", ")}] for grids of [${numPatches}, ${patchDim(config)}]`,
    );
  }
  let x = products.embed(patches, grids);
  if (!plan.identity) x = permuteUnits(x, plan.order, mergeUnit(config), device);
  const embedded = x;
  const factors = rotary.at([plan.rows, plan.columns]);
  const { dtype } = x;
  const kind = { dtype, device, headDim: config.hiddenSize / config.numHeads };
  const windows = segment(plan.windowLengths, kind);
  const whole = sameLengths(plan.windowLengths, plan.imageLengths)
    ? windows
    : segment(plan.imageLengths, kind);
  const counts = { numHeads: config.numHeads, numKeyValueHeads: config.numHeads };
  const deep: Tensor[] = [];
  for (let block = 0; block < config.depth; block++) {
    const segments = config.fullAttentionBlocks.includes(block) ? whole : windows;
    x = steps.run(x, (input) => {
      const heads = products.heads(block, input);
      const mixed = attendSegments(heads, factors, counts, segments, false);
      return products.mlp(block, products.output(block, mixed, input));
    });
    const level = config.deepstackBlocks.indexOf(block);
    if (level >= 0) deep[level] = steps.aside(x, (input) => products.merge(1 + level, input));
  }
  const last = steps.aside(x, (input) => products.merge(0, input));
  const inWindows = deep.length === 0 ? last : cat([last, ...deep], 1);
  if (plan.identity) return { features: inWindows, embedded };
  const inverse = tensor(inverseOrder(plan.order), { dtype: "int64", device });
  return { features: inWindows.indexSelect(0, inverse), embedded };
}

/** The tower's products in libtorch's operators. */
export function plainProducts(tower: VisionTower, config: VisionConfig): TowerProducts {
  const headDim = config.hiddenSize / config.numHeads;
  return {
    embed(patches, grids) {
      const { weight, bias } = patchMatrix(tower, config);
      return withPositions(linear(patches.to(weight.dtype), weight, bias), tower, config, grids);
    },
    heads(block, x) {
      const { norm1, qkv } = tower.blocks[block];
      const paired = 2 * config.hiddenSize;
      return projectJoined(normed(x, norm1, towerEpsilon), [qkv], { paired, size: headDim });
    },
    output(block, mixed, residual) {
      return residual.add(project(mixed, tower.blocks[block].proj));
    },
    mlp(block, x) {
      const { norm2, gate, up, down } = tower.blocks[block];
      const inner = normed(x, norm2, towerEpsilon);
      const wide = gate === undefined ? project(inner, up) : projectJoined(inner, [gate, up]);
      return x.add(project(activated(wide, config), down));
    },
    merge(merger, x) {
      const { into, out } = tower.mergers[merger];
      return project(project(mergerInput(tower, config, merger, x), into).gelu(), out);
    },
  };
}

/** The patch embedding as a matrix, [C, patchDim]. */
export function patchMatrix({ patchEmbed }: VisionTower, config: VisionConfig): Linear {
  const weight = patchEmbed.weight.view([config.hiddenSize, patchDim(config)]);
  return { weight, bias: patchEmbed.bias };
}

/** Embedded patches [P, C] with the learned positions of their grids added, where there are any. */
export function withPositions(
  x: Tensor,
  { positions }: VisionTower,
  config: VisionConfig,
  grids: readonly Grid[],
): Tensor {
  if (positions === undefined) return x;
  return x.add(learnedPositions(positions, grids, config).to(x.dtype));
}

/** What the MLP's activation makes of its first product. */
export function activated(wide: Tensor, { mlp }: VisionConfig): Tensor {
  if (mlp === "swiglu") return swiglu(wide);
  if (mlp === "geluTanh") return wide.gelu({ approximate: "tanh" });
  return wide.mul(wide.mul(1.702).sigmoid());
}

/** Rows [P, C] normed and as merged positions [U, 4 C]; the deepstack mergers norm these. */
export function mergerInput(
  { mergers }: VisionTower,
  config: VisionConfig,
  merger: number,
  x: Tensor,
): Tensor {
  const { norm } = mergers[merger];
  const unit = [-1, config.hiddenSize * mergeUnit(config)];
  if (merger > 0) return normed(x.view(unit), norm, towerEpsilon);
  return normed(x, norm, towerEpsilon).view(unit);
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
