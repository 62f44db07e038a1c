/**
 * The part of docs/models.md that says which published sizes fit which card and which machine: worked out by
 * the formula that every start uses, from the sizes alone, and what of them was run, from docs/results;
 * `node --import tsx scripts/recipe-docs.ts` writes it.
 */
import { existsSync, readFileSync } from "node:fs";
import { z } from "zod";
import { heldShares, type LearningPlan } from "../src/engine/local/estimate.ts";
import { GIB, LOGITS_BYTES } from "../src/engine/local/sizes.ts";
import { numAttentionLayers, type ModelConfig } from "../src/model/config.ts";
import { stateBytes } from "../src/model/delta-states.ts";
import { cacheDtypeFor, cacheFormFor } from "../src/model/kv-cache.ts";
import { dtypeBytes } from "../src/torch/dtype.ts";
import { configOf, numParametersOf, sizes } from "./published-sizes.ts";

/** GB of a place, and those that are counted on. */
type Place = readonly [gigabytes: number, counted: number];
const cards: readonly Place[] = [
  [24, 22],
  [80, 76],
  [141, 134],
];
const machines: readonly Place[] = [
  [16, 14],
  [32, 29],
  [64, 60],
  [128, 122],
  [256, 246],
];

interface Way {
  readonly name: string;
  readonly device: "cuda:0" | "cpu";
  readonly dtype: "bfloat16" | "float32";
  readonly plan?: LearningPlan;
}

const base = { trainable: "language", reference: true, recompute: true } as const;
const onCard = { ...base, logitsBytes: LOGITS_BYTES.gpu };
const onCpu = { ...base, logitsBytes: LOGITS_BYTES.cpu };
const lora = { rank: 16, alpha: 32, targets: "all-linear", rslora: false, dropout: 0 } as const;
const card = { device: "cuda:0", dtype: "bfloat16" } as const;

/** GRPO of an adapter on a card. */
export const loraOnCard: Way = {
  name: "GRPO with LoRA, rank 16",
  ...card,
  plan: { ...onCard, lora },
};

const cardWays: readonly Way[] = [
  { name: "sampling", ...card },
  { name: "GRPO", ...card, plan: onCard },
  {
    name: "GRPO, `moments: int8`, `masters: kahan`, no KL",
    ...card,
    plan: { ...onCard, reference: false, moments: "int8", masters: "kahan" },
  },
  loraOnCard,
];
const cpuWays: readonly Way[] = [
  { name: "sampling, bfloat16", device: "cpu", dtype: "bfloat16" },
  { name: "GRPO, float32", device: "cpu", dtype: "float32", plan: onCpu },
  {
    name: "GRPO with LoRA, rank 16, float32",
    device: "cpu",
    dtype: "float32",
    plan: { ...onCpu, lora },
  },
];

/** Positions of a sequence, and how many of them stand in the cache. */
const numPositions = 3000;
const numSequences = { sampling: 1, learning: 8 };

/** GB that a way takes, keys and values of its sequences with it. */
export function gigabytesOf(config: ModelConfig, { device, dtype, plan }: Way): number {
  const { text } = config;
  const held = {
    device,
    dtype,
    weightsBytes: dtypeBytes[dtype] * numParametersOf(config),
    samplers: 1,
    learns: plan !== undefined,
    tokensPerMicroBatch: 4096,
    featureBytes: GIB / 2,
  } as const;
  const shares = heldShares(config, held, plan).reduce((sum, { bytes }) => sum + bytes, 0);
  const cached = device === "cpu" ? cacheDtypeFor(cacheFormFor(dtype, device, text), dtype) : dtype;
  const kept = dtypeBytes[cached];
  const position = numAttentionLayers(text) * 2 * text.numKeyValueHeads * text.headDim * kept;
  const sequence = numPositions * position + 2 * stateBytes(text, dtypeBytes[dtype]);
  const isOne = device === "cpu" && plan === undefined;
  return (shares + (isOne ? numSequences.sampling : numSequences.learning) * sequence) / 1e9;
}

/** The smallest place that it fits. */
function fitsIn(gigabytes: number, places: readonly Place[]): string {
  const place = places.find(([, counted]) => gigabytes <= counted);
  const needs = gigabytes.toFixed(gigabytes < 100 ? 1 : 0);
  return `${needs} → ${place === undefined ? "none" : place[0]}`;
}

const gpuSchema = z.object({
  small: z.boolean(),
  machine: z.object({ gpu: z.string() }),
  rows: z.array(z.object({ name: z.string(), status: z.string() })),
});
/** What rows of docs/results/gpu.json show, by how their names begin. */
const rowsShow = {
  decode: "sampling",
  "sft-full": "SFT",
  "grpo-zoom": "GRPO with zoom",
  "sft-lora": "SFT with LoRA",
  "grpo-lora": "GRPO with LoRA",
};
const model3B = "Qwen2.5-VL-3B, ViGoRL-3B";

/** What was run on a card, all of it at one size. */
function runOnCard(name: string): string {
  const file = new URL("../docs/results/gpu.json", import.meta.url);
  if (name !== model3B || !existsSync(file)) return "not run";
  const { small, machine, rows } = gpuSchema.parse(JSON.parse(readFileSync(file, "utf8")));
  const measured = rows.filter(({ status }) => status === "measured");
  const shown = Object.entries(rowsShow)
    .filter(([row]) => measured.some((one) => one.name.startsWith(row)))
    .map(([, what]) => what);
  if (small || shown.length === 0) return "not run";
  return `[${shown.join(", ")}: ${machine.gpu.split(",")[0]}](results/gpu.md)`;
}

const answeringSchema = z.object({ numParameters: z.number() });

/** What was run on a CPU: loading and answering, as far as docs/results has it of this size. */
function runOnCpu(name: string): string {
  const size = sizes.find((one) => one.name === name);
  const numParameters = size && numParametersOf(configOf(size));
  const links = ["load", "ask"].flatMap((bench) => {
    const file = new URL(`../docs/results/${bench}.json`, import.meta.url);
    if (!existsSync(file)) return [];
    const found = answeringSchema.parse(JSON.parse(readFileSync(file, "utf8")));
    return found.numParameters === numParameters ? [`[${bench}](results/${bench}.md)`] : [];
  });
  return links.length === 0 ? "not run" : `sampling: ${links.join(", ")}`;
}

function table(
  ways: readonly Way[],
  places: readonly Place[],
  runOf: (name: string) => string,
): string {
  const rows = sizes.map((size) => {
    const config = configOf(size);
    const billions = (numParametersOf(config) / 1e9).toFixed(2);
    const cells = ways.map((way) => fitsIn(gigabytesOf(config, way), places));
    return [size.name, billions, ...cells, runOf(size.name)];
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
  const tables = [
    "On one GPU:",
    table(cardWays, cards, runOnCard),
    "On a CPU:",
    table(cpuWays, machines, runOnCpu),
  ];
  return `${before}${begin}\n\n${tables.join("\n\n")}\n\n${end}${after}`;
}
