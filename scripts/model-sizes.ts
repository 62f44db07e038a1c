/**
 * The part of docs/models.md that says which published sizes fit which card: worked out by the formula that
 * every start uses, from the sizes alone; `node --import tsx scripts/recipe-docs.ts` writes it.
 */
import { GIB } from "../src/engine/local/sizes.ts";
import { heldShares, type LearningPlan } from "../src/engine/local/estimate.ts";
import type { ModelConfig } from "../src/model/config.ts";
import { parseModelConfig } from "../src/model/families/table.ts";
import { parameterShapes } from "../src/model/parameters.ts";

interface Size {
  readonly name: string;
  readonly json: Record<string, unknown>;
}

const ids = { image_token_id: 151655, video_token_id: 151656, vision_start_token_id: 151652 };

/** Sizes of a language model: hidden, inner, layers, heads, key-value heads, vocabulary. */
type Text = readonly [number, number, number, number, number, number];

function text([hidden, inner, layers, heads, keyHeads, vocabulary]: Text) {
  return {
    hidden_size: hidden,
    intermediate_size: inner,
    num_hidden_layers: layers,
    num_attention_heads: heads,
    num_key_value_heads: keyHeads,
    vocab_size: vocabulary,
    hidden_act: "silu",
    rms_norm_eps: 1e-6,
  };
}

const mrope = { rope_theta: 1e6, rope_scaling: { type: "mrope", mrope_section: [16, 24, 24] } };

function qwen2(name: string, sizes: Text, isTied: boolean): Size {
  const vision = { depth: 32, embed_dim: 1280, hidden_size: sizes[0], mlp_ratio: 4, num_heads: 16 };
  return {
    name,
    json: {
      model_type: "qwen2_vl",
      ...ids,
      ...text(sizes),
      ...mrope,
      max_position_embeddings: 32768,
      tie_word_embeddings: isTied,
      torch_dtype: "bfloat16",
      vision_config: vision,
    },
  };
}

function qwen25(name: string, sizes: Text, isTied: boolean, inner = 3420): Size {
  const tower = { depth: 32, hidden_size: 1280, intermediate_size: inner, num_heads: 16 };
  return {
    name,
    json: {
      model_type: "qwen2_5_vl",
      ...ids,
      ...text(sizes),
      ...mrope,
      max_position_embeddings: 128000,
      tie_word_embeddings: isTied,
      torch_dtype: "bfloat16",
      vision_config: { ...tower, out_hidden_size: sizes[0] },
    },
  };
}

/** @param tower depth, width, inner, deepstack blocks */
function qwen3(
  name: string,
  sizes: Text,
  isTied: boolean,
  [depth, width, inner, deepstack]: readonly [number, number, number, readonly number[]],
): Size {
  return {
    name,
    json: {
      model_type: "qwen3_vl",
      ...ids,
      tie_word_embeddings: isTied,
      text_config: {
        ...text(sizes),
        head_dim: 128,
        max_position_embeddings: 262144,
        dtype: "bfloat16",
        rope_theta: 5e6,
        rope_scaling: {
          rope_type: "default",
          mrope_interleaved: true,
          mrope_section: [24, 20, 20],
        },
      },
      vision_config: {
        depth,
        hidden_size: width,
        intermediate_size: inner,
        num_heads: 16,
        out_hidden_size: sizes[0],
        patch_size: 16,
        num_position_embeddings: 2304,
        deepstack_visual_indexes: deepstack,
      },
    },
  };
}

const small = [24, 1024, 4096, [5, 11, 17]] as const;
const large = [27, 1152, 4304, [8, 16, 24]] as const;

export const sizes: readonly Size[] = [
  qwen2("Qwen2-VL-2B", [1536, 8960, 28, 12, 2, 151_936], true),
  qwen2("Qwen2-VL-7B", [3584, 18944, 28, 28, 4, 152_064], false),
  qwen25("Qwen2.5-VL-3B, ViGoRL-3B", [2048, 11008, 36, 16, 2, 151_936], true),
  qwen25("Qwen2.5-VL-7B, ViGoRL-7B", [3584, 18944, 28, 28, 4, 152_064], false),
  qwen25("Qwen2.5-VL-32B", [5120, 27648, 64, 40, 8, 152_064], false, 3456),
  qwen3("Qwen3-VL-2B", [2048, 6144, 28, 16, 8, 151_936], true, small),
  qwen3("Qwen3-VL-4B", [2560, 9728, 36, 32, 8, 151_936], true, small),
  qwen3("Qwen3-VL-8B", [4096, 12288, 36, 32, 8, 151_936], false, large),
  qwen3("Qwen3-VL-32B", [5120, 25600, 64, 64, 8, 151_936], false, large),
];

export function configOf({ name, json }: Size): ModelConfig {
  return parseModelConfig(json, name);
}

export function numParametersOf(config: ModelConfig): number {
  let total = 0;
  for (const shape of parameterShapes(config).values())
    total += shape.reduce((product, length) => product * length, 1);
  return total;
}

/** GB of a card, and those that are counted on. */
const cards = [
  [24, 22],
  [80, 76],
  [141, 134],
] as const;

/** What was run at these sizes, with random weights, and where it stands. */
const wasRun: Readonly<Record<string, readonly string[]>> = {
  "Qwen2.5-VL-3B, ViGoRL-3B": ["[sampling and SFT, H200](results/gpu.md)"],
};

const base = { trainable: "language", reference: true, logitsBytes: 2 ** 31 } as const;
const lora = { rank: 16, alpha: 32, targets: "all-linear", rslora: false, dropout: 0 } as const;
const ways: readonly { readonly name: string; readonly plan?: LearningPlan }[] = [
  { name: "sampling" },
  { name: "GRPO", plan: { ...base, recompute: true } },
  {
    name: "GRPO, `moments: int8`, `masters: kahan`, no KL",
    plan: { ...base, reference: false, recompute: true, moments: "int8", masters: "kahan" },
  },
  { name: "GRPO with LoRA, rank 16", plan: { ...base, recompute: true, lora } },
];

/** GB that a way takes on a GPU in bfloat16, with keys and values of eight sequences of 3,000 positions. */
export function gigabytesOf(config: ModelConfig, plan: LearningPlan | undefined): number {
  const { text } = config;
  const held = {
    device: "cuda:0",
    dtype: "bfloat16",
    weightsBytes: 2 * numParametersOf(config),
    samplers: 1,
    learns: plan !== undefined,
    tokensPerMicroBatch: 4096,
    featureBytes: GIB / 2,
  } as const;
  const shares = heldShares(config, held, plan).reduce((sum, { bytes }) => sum + bytes, 0);
  const cache = 8 * 3000 * text.numLayers * 2 * text.numKeyValueHeads * text.headDim * 2;
  return (shares + cache) / 1e9;
}

/** The smallest card that a size fits. */
function fitsOn(gigabytes: number): string {
  const card = cards.find(([, counted]) => gigabytes <= counted);
  const needs = gigabytes.toFixed(gigabytes < 100 ? 1 : 0);
  return `${needs} → ${card === undefined ? "none" : card[0]}`;
}

function table(): string {
  const rows = sizes.map((size) => {
    const config = configOf(size);
    const billions = (numParametersOf(config) / 1e9).toFixed(2);
    const run = wasRun[size.name]?.join(", ") ?? "not run";
    return [size.name, billions, ...ways.map(({ plan }) => fitsOn(gigabytesOf(config, plan))), run];
  });
  const head = ["model", "parameters, billions", ...ways.map(({ name }) => name), "run"];
  return [head, head.map(() => "---"), ...rows].map((row) => `| ${row.join(" | ")} |`).join("\n");
}

const begin = "<!-- sizes: written by scripts/recipe-docs.ts -->";
const end = "<!-- end of sizes -->";

/** The page with its table as it should be. */
export function withSizes(page: string): string {
  const [before, rest] = page.split(begin);
  const after = rest?.split(end)[1];
  if (after === undefined) throw new Error(`docs/models.md: ${begin} … ${end} is missing`);
  return `${before}${begin}\n\n${table()}\n\n${end}${after}`;
}
