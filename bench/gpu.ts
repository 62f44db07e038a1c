/**
 * What a card gives: its two ceilings (copying and matrix products), then decoding at several widths,
 * steps of SFT and GRPO and a whole step of GRPO with zoom at the sizes of a published 3B model, each
 * beside transformers and PyTorch on the same card. Weights are random and made on the spot; nothing is
 * fetched. A row that fails is recorded as that and the next one runs; the report is written after every
 * row.
 *
 *   npm run bench -- gpu [--small] [--device auto] [--budget 480] [--out docs/results] [--no-peer]
 *     [--only NAME,…]
 *
 * `--small` is the same program on a tiny model, in seconds on any machine. VIGORL_BENCH_PYTHON names
 * the Python of the peer; without it `python3` is taken, and its rows say so where that lacks something.
 */
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { parseArgs } from "node:util";
import { VigorlError } from "../src/core/errors.ts";
import { openLocalEngine, type LocalEngine } from "../src/engine/local/client.ts";
import { patches } from "../src/image/model-image.ts";
import type { ModelConfig } from "../src/model/config.ts";
import { qwen2_5_vl } from "../src/model/families/qwen2_5_vl.ts";
import { readPreprocessor } from "../src/model/profile.ts";
import { cudaMemory, emptyCache, resetPeakMemory, resolveDevice } from "../src/torch/device.ts";
import { writeRandomModel } from "./gpu/model.ts";
import { peerRows, type PeerAsk } from "./gpu/peer.ts";
import { writeReport, type Figures, type Report, type Row } from "./gpu/report.ts";
import {
  copyRate,
  decode,
  matmulRate,
  pictureOf,
  train,
  trainData,
  zoomStep,
  type Bench,
  type Ceilings,
} from "./gpu/rows.ts";
import { fullWork, parameterCounts, smallWork } from "./gpu/sizes.ts";
import { commit, machine } from "./peers.ts";

const { values } = parseArgs({
  options: {
    small: { type: "boolean", default: false },
    device: { type: "string", default: "auto" },
    budget: { type: "string", default: "480" },
    out: { type: "string", default: "docs/results" },
    "no-peer": { type: "boolean", default: false },
    only: { type: "string" },
  },
});
const device = resolveDevice(values.device);
const work = values.small ? smallWork : fullWork;
const budgetSeconds = Number(values.budget);
if (!(budgetSeconds > 0))
  throw new VigorlError("usage", `--budget ${values.budget}: give seconds above 0`);
if (device === "cpu" && !values.small)
  throw new VigorlError("usage", "there is no GPU here", {
    hint: "add --small to run the same program on a small model",
  });
/** An 80 GB card holds the states of a 3B model and not much beside them. */
const isRoomy = device === "cpu" || (cudaMemory()?.totalBytes ?? 0) > 100e9;
const began = performance.now();
const secondsLeft = (): number => budgetSeconds - (performance.now() - began) / 1000;

const adapter = {
  rank: 16,
  alpha: 32,
  targets: "all-linear",
  rslora: false,
  dropout: 0,
  seed: 1,
} as const;

interface Planned {
  readonly name: string;
  readonly title: string;
  /** Seconds it may take on a card. */
  readonly atMost: number;
  readonly run: () => Figures | Promise<Figures>;
  readonly peer?: PeerAsk;
}

const rows: Row[] = [];
const planned: Planned[] = [];
let peerVersions: Report["peer"] = null;
const folder = await mkdtemp(join(tmpdir(), "vigorl-gpu-"));
try {
  await benchmark();
} finally {
  await rm(folder, { recursive: true, force: true });
}
const numMeasured = rows.filter(({ status }) => status === "measured").length;
console.log(`${numMeasured} of ${rows.length} rows measured: ${join(values.out, "gpu.md")}`);
process.exit(numMeasured === 0 ? 2 : 0);

async function benchmark(): Promise<void> {
  const ceilings: Ceilings = {};
  await row({
    name: "copy",
    title: "copying on the device, bytes read and written",
    atMost: 20,
    run: () => copyRate(work, device, ceilings),
    peer: { row: "copy", numbers: work.copied },
  });
  await row({
    name: "matmul",
    title: `product of two matrices of ${work.matrix}², bfloat16`,
    atMost: 20,
    run: () => matmulRate(work, device, ceilings),
    peer: { row: "matmul", size: work.matrix },
  });
  const model = join(folder, "model");
  const config = await writeRandomModel(model, work.model, device);
  const preprocessor = await readPreprocessor(model, qwen2_5_vl);
  note(`${(parameterCounts(config).all / 1e9).toFixed(2)} billion parameters written`);
  let engine: LocalEngine | undefined;
  let isLora = false;
  const opened = async (): Promise<Bench> => {
    engine ??= await openLocalEngine(model, {
      device,
      dtype: "bfloat16",
      numSlots: Math.max(...work.decode.sequences),
      maxPositions: work.maxPositions,
      trainable: "language",
      lora: isLora ? adapter : undefined,
      tokensPerMicroBatch: isRoomy ? work.tokensPerMicroBatch : work.tokensPerMicroBatch / 2,
      featureBytes: 4 * 2 ** 30,
      cacheBytes: device === "cpu" ? undefined : (isRoomy ? 32 : 10) * 2 ** 30,
    });
    return { work, config, preprocessor, engine, isLora, ceilings };
  };
  const close = async (): Promise<void> => {
    await engine?.close();
    engine = undefined;
    if (device !== "cpu") emptyCache();
  };
  const { sequences, textTokens } = work.train;
  for (const count of work.decode.sequences)
    await row({
      name: `decode-${count}`,
      title: `decoding ${count} sequence${count === 1 ? "" : "s"} side by side`,
      atMost: 30,
      run: async () => decode(await opened(), count),
      peer: {
        row: "decode",
        folder: model,
        sequences: count,
        promptTokens: work.decode.promptTokens,
        newTokens: work.decode.peerNewTokens,
      },
    });
  const data = `${sequences} sequences of a picture (${work.picturePx}²) and ${textTokens} tokens`;
  await row({
    name: "sft-full",
    title: `SFT step, language model trained in full, ${data}`,
    atMost: 60,
    run: async () => train(await opened(), "crossEntropy"),
    peer: { row: "sft", lora: false, folder: model, data: folder, work: work.train },
  });
  await row({
    name: "grpo-full",
    title: `GRPO: learning from ${data}`,
    atMost: 40,
    run: async () => train(await opened(), "grpo"),
  });
  const { prompts, groupSize, crops } = work.zoom;
  await row({
    name: "grpo-zoom",
    title: `GRPO step with zoom: ${prompts} pictures (${work.picturePx}²) × ${groupSize} episodes, ${crops} crops (${work.cropPx}²) each`,
    atMost: 90,
    run: async () => zoomStep(await opened()),
  });
  await close();
  isLora = true;
  await row({
    name: "sft-lora",
    title: `SFT step with LoRA (rank ${adapter.rank}, all linear layers), ${data}`,
    atMost: 60,
    run: async () => train(await opened(), "crossEntropy"),
    peer: { row: "sft", lora: true, folder: model, data: folder, work: work.train },
  });
  await row({
    name: "grpo-lora",
    title: `GRPO with LoRA: learning from ${data}`,
    atMost: 40,
    run: async () => train(await opened(), "grpo"),
  });
  await close();
  await writePeerData(config);
  peerVersions = await peerRows(
    planned.filter(({ name }) => rows.some((one) => one.name === name)),
    rows,
    { device, secondsLeft, skip: values["no-peer"], wrote: write },
  );
  await write();

  /** What the peer reads: the token ids of the training data and the patches of their one picture. */
  async function writePeerData({ imageTokenId }: ModelConfig): Promise<void> {
    const image = pictureOf(work.picturePx, 1, preprocessor);
    const ids = trainData({ work, config, preprocessor }).map(({ chunks }) =>
      chunks.flatMap((chunk) =>
        chunk.type === "text"
          ? [...chunk.tokens]
          : Array.from({ length: chunk.image.numTokens }, () => imageTokenId),
      ),
    );
    const grid = [1, image.grid.h, image.grid.w];
    await writeFile(join(folder, "train.json"), JSON.stringify({ ids, grid }));
    const pixels = patches(image, preprocessor);
    await writeFile(join(folder, "picture.f32"), new Uint8Array(pixels.buffer));
  }
}

/** Runs a row and files what comes of it. */
async function row(plan: Planned): Promise<void> {
  if (values.only !== undefined && !values.only.split(",").includes(plan.name)) return;
  planned.push(plan);
  const { name, title, atMost } = plan;
  const limit = device === "cpu" ? Infinity : secondsLeft();
  if (limit < atMost) {
    rows.push({ name, title, status: "not run", why: "no time was left of the budget" });
    return write();
  }
  const start = performance.now();
  const seconds = (): number => Number(((performance.now() - start) / 1000).toFixed(2));
  if (device !== "cpu") resetPeakMemory();
  try {
    const figures = await plan.run();
    const peak = device === "cpu" ? undefined : cudaMemory()?.peakBytes;
    const ours = { ...figures, ...(peak !== undefined && { peakGigabytes: peak / 1e9 }) };
    rows.push({ name, title, status: "measured", ours: rounded(ours), seconds: seconds() });
    note(`${name}: ${JSON.stringify(rounded(ours))}`);
  } catch (error) {
    const why = error instanceof Error ? error.message : String(error);
    rows.push({ name, title, status: "failed", why: why.slice(0, 500), seconds: seconds() });
    note(`${name} failed: ${error instanceof Error ? (error.stack ?? why) : why}`);
  }
  await write();
}

async function write(): Promise<void> {
  await writeReport(values.out, {
    command: `npm run bench -- gpu${values.small ? " --small" : ""}`,
    date: new Date().toISOString().slice(0, 10),
    commit: commit(),
    small: values.small,
    machine: machine(),
    peer: peerVersions,
    rows,
  });
}

function note(text: string): void {
  console.log(`${((performance.now() - began) / 1000).toFixed(1)} s  ${text}`);
}

function rounded(figures: Figures): Figures {
  return Object.fromEntries(
    Object.entries(figures).map(([name, value]) => [name, Number(value.toPrecision(4))]),
  );
}
