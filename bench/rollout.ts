/**
 * Tokens per second of a rollout: 8 prompts (an image of 112×112 and a question) × 8 members × 64 new
 * tokens at temperature 1, through our engine and through transformers' `generate` on the same
 * checkpoint, prompts and number of threads, in turns on one machine. No end token, so that both do
 * the same work. New images and questions every round: nothing is left over from the last.
 *
 *   npm run bench -- rollout [--json] [--rounds 15] [--threads 2] [--model models/nano]
 *     [--device cpu] [--dtype float32]
 */
import { mkdir, mkdtemp, readdir, rm, symlink, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join, resolve } from "node:path";
import { z } from "zod";
import { openLocalEngine } from "../src/engine/local/client.ts";
import type { Chunk } from "../src/engine/types.ts";
import { loadTokenizer } from "../src/text/tokenizer.ts";
import { benchOptions, readySchema, median, Peer, peerPython, printResult } from "./peers.ts";
import { promptsOf, writePrompts } from "./prompts.ts";

const numPrompts = 8;
const groupSize = 8;
const newTokens = 64;
const viewPx = 112;
/** Rounds that count for neither side: code is compiled, caches and threads are made. */
const warmUp = 4;

const { values, rounds, threads, device, dtype } = benchOptions(15, { devices: true });

const roundSchema = z.object({
  seconds: z.number(),
  cpuSeconds: z.number(),
  tokens: z.number(),
  peakMb: z.number(),
});
type Round = Omit<z.infer<typeof roundSchema>, "peakMb">;
const greedySchema = z.object({ greedy: z.array(z.array(z.number())) });

peerPython();
const work = await mkdtemp(join(tmpdir(), "vigorl-rollout-"));
try {
  await benchmark();
} finally {
  await rm(work, { recursive: true, force: true });
}

async function benchmark(): Promise<void> {
  const model = join(work, "model");
  const tokenizer = await loadTokenizer(values.model);
  // Without tokenizer and end tokens every sample has its full length.
  const left = ["tokenizer.json", "generation_config.json"];
  await mkdir(model);
  for (const file of await readdir(values.model))
    if (!left.includes(file)) await symlink(resolve(values.model, file), join(model, file));
  await writeFile(join(model, "generation_config.json"), "{}\n");
  const allPrompts = Array.from({ length: rounds + warmUp }, (_, round) =>
    promptsOf(tokenizer, { round, count: numPrompts, sidePx: viewPx }),
  );
  for (const [round, prompts] of allPrompts.entries())
    await writePrompts(join(work, String(round)), prompts, tokenizer);

  const peer = new Peer("rollout.py", [
    "--model",
    model,
    "--rounds",
    work,
    `--pad=${tokenizer.imagePadId}`,
    `--group=${groupSize}`,
    `--tokens=${newTokens}`,
    `--threads=${threads}`,
    `--device=${device}`,
    `--dtype=${dtype}`,
  ]);
  const { versions } = readySchema.parse(await peer.ask());
  const engine = await openLocalEngine(model, { device, dtype, threads, maxPositions: 256 });

  const ours: Round[] = [];
  const theirs: Round[] = [];
  let peerPeakMb = 0;
  for (const [round, prompts] of allPrompts.entries()) {
    const mine = await sampleRound(prompts);
    const other = roundSchema.parse(await peer.ask({ round }));
    peerPeakMb = other.peakMb;
    if (round < warmUp) continue;
    ours.push(mine);
    theirs.push(other);
    if (!values.json)
      console.log(
        `round ${round - warmUp + 1}: ours ${rate(mine).toFixed(0)}, transformers ${rate(other).toFixed(0)} tokens/s`,
      );
  }
  const sameGreedyTokens = await compareGreedy();
  const facts = await engine.facts();
  await engine.close();
  peer.close();
  printResult({
    name: "rollout",
    ratios: { tokensPerSecond: median(ours.map(rate)) / median(theirs.map(rate)) },
    ours: {
      ...speed(ours),
      peakMb: Math.round(process.resourceUsage().maxRSS / 1024),
      prefillShare: Number(
        (facts.prefillSeconds / (facts.prefillSeconds + facts.decodeSeconds)).toFixed(3),
      ),
      sameGreedyTokens,
    },
    peer: {
      ...speed(theirs),
      peakMb: Math.round(peerPeakMb),
      ...versions,
    },
  });

  async function sampleRound(prompts: readonly Chunk[][]): Promise<Round> {
    const startCpu = process.cpuUsage();
    const start = performance.now();
    const samples = await Promise.all(
      prompts.flatMap((prompt, p) =>
        Array.from({ length: groupSize }, (_, g) =>
          engine.sample(prompt, sampling(1, newTokens, p * groupSize + g)),
        ),
      ),
    );
    const seconds = (performance.now() - start) / 1000;
    const { user, system } = process.cpuUsage(startCpu);
    const tokens = samples.reduce((sum, sample) => sum + sample.tokens.length, 0);
    return { tokens, seconds, cpuSeconds: (user + system) / 1e6 };
  }

  /** Share of greedy tokens, 16 a prompt, that both sides agree on. */
  async function compareGreedy(): Promise<number> {
    const length = 16;
    const { greedy } = greedySchema.parse(await peer.ask({ greedy: 0, tokens: length }));
    const own = await Promise.all(
      allPrompts[0].map((prompt) => engine.sample(prompt, sampling(0, length, 0))),
    );
    const same = own.flatMap(({ tokens }, p) => tokens.map((token, t) => token === greedy[p][t]));
    return same.filter(Boolean).length / same.length;
  }
}

function rate({ tokens, seconds }: Round): number {
  return tokens / seconds;
}

/** Processor time says what a busy machine hides. */
function speed(all: readonly Round[]): { tokensPerSecond: number; tokensPerCpuSecond: number } {
  return {
    tokensPerSecond: Math.round(median(all.map(rate))),
    tokensPerCpuSecond: Math.round(
      median(all.map(({ tokens, cpuSeconds }) => tokens / cpuSeconds)),
    ),
  };
}

function sampling(temperature: number, maxTokens: number, seed: number) {
  return { temperature, maxTokens, seed, topP: 1, topK: 0, stop: [] };
}
