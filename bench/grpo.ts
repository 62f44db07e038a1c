/**
 * One GRPO step, from prompts to new weights: 16 prompts (a picture of 448×448 and a question) × 8
 * episodes of at most 64 new tokens, rewards, advantages, backward pass and AdamW, on our engine and
 * on TRL's GRPOTrainer, from the same checkpoint and on the same prompts, in turns on one machine.
 * Single turn, as the peer has it; every episode is learned from on both sides; ours runs with its
 * parity gate. Pictures (PNG files) and questions are new in every step.
 *
 *   npm run bench -- grpo [--json] [--rounds 5] [--threads 2] [--model models/nano]
 */
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { z } from "zod";
import { writeFileAtomic } from "../src/core/files.ts";
import { writeJsonl } from "../src/core/jsonl.ts";
import { createRunFolder } from "../src/core/run-folder.ts";
import { openLocalEngine } from "../src/engine/local/client.ts";
import { encodePng } from "../src/image/decode.ts";
import { episodeSettingsSchema, loadEpisodeConfig } from "../src/task/episode-config.ts";
import { noToolSuffix } from "../src/nano/language.ts";
import { nanoRecords } from "../src/nano/tasks.ts";
import { loadImages, type TaskRecord } from "../src/task/record.ts";
import { trainRl } from "../src/train/grpo.ts";
import type { Metrics } from "../src/train/metrics.ts";
import { rlSchema } from "../src/train/rl-config.ts";
import { benchOptions, readySchema, median, Peer, peerPython, printResult } from "./peers.ts";

const promptsPerStep = 16;
const groupSize = 8;
const newTokens = 64;

const { values, rounds, threads } = benchOptions(5);

const stepSchema = z.object({
  seconds: z.number(),
  cpuSeconds: z.number(),
  tokens: z.number(),
  peakMb: z.number(),
});

peerPython();
const work = await mkdtemp(join(tmpdir(), "vigorl-grpo-"));
try {
  await benchmark();
} finally {
  await rm(work, { recursive: true, force: true });
}

async function benchmark(): Promise<void> {
  const count = promptsPerStep * (rounds + 1);
  const drawn = nanoRecords({ task: "search", split: "train", count, seed: 1 });
  const prompts = await writePrompts(drawn);
  const onDisk = drawn.map((record, index): TaskRecord => {
    return { ...record, images: [{ kind: "path", path: picturePath(index) }] };
  });
  const batches = Array.from({ length: rounds + 1 }, (_, round) =>
    onDisk.slice(round * promptsPerStep, (round + 1) * promptsPerStep),
  );
  const peer = new Peer("grpo.py", [
    `--model=${values.model}`,
    `--prompts=${prompts}`,
    `--threads=${threads}`,
    `--per-step=${promptsPerStep}`,
    `--group=${groupSize}`,
    `--tokens=${newTokens}`,
  ]);
  const { versions } = readySchema.parse(await peer.ask());

  const learner = await openLocalEngine(values.model, { threads, maxPositions: 512 });
  const episode = await loadEpisodeConfig(
    values.model,
    episodeSettingsSchema.parse({
      tools: {},
      episode: { maxTokensPerTurn: newTokens, maxTotalTokens: newTokens },
      prompts: { style: "nano", questionSuffix: noToolSuffix },
    }),
  );
  const config = rlSchema.parse({
    promptsPerStep,
    groupSize,
    concurrency: promptsPerStep * groupSize,
    steps: 1,
    zeroVariance: "keep",
    overlong: "keep",
    learningRate: 1e-5,
    tracesPerStep: 0,
  });

  const ours: Metrics[] = [];
  const cpuSeconds: number[] = [];
  const theirs: z.infer<typeof stepSchema>[] = [];
  // Step 0 warms both sides up.
  for (const [round, records] of batches.entries()) {
    const description = { verb: "rl", name: "bench", seed: round, recipe: {} };
    const run = await createRunFolder(join(work, `run-${round}`), description);
    const before = process.cpuUsage();
    const { metrics } = await trainRl({ learner, records, episode, config, run, seed: round });
    const used = process.cpuUsage(before);
    const other = stepSchema.parse(await peer.ask({ step: round }));
    if (round === 0) continue;
    ours.push(metrics!);
    cpuSeconds.push((used.user + used.system) / 1e6);
    theirs.push(other);
    if (!values.json) {
      const seconds = metrics!["seconds/step"]!.toFixed(2);
      console.log(`step ${round}: ours ${seconds} s, TRL ${other.seconds.toFixed(2)} s`);
    }
  }
  await learner.close();
  peer.close();

  const of = (name: keyof Metrics): number => median(ours.map((metrics) => metrics[name] ?? 0));
  const secondsPerStep = of("seconds/step");
  const peerSeconds = median(theirs.map(({ seconds }) => seconds));
  printResult({
    name: "grpo",
    ratios: { stepsPerSecond: peerSeconds / secondsPerStep },
    ours: {
      secondsPerStep: Number(secondsPerStep.toFixed(3)),
      cpuSecondsPerStep: Number(median(cpuSeconds).toFixed(3)),
      sampleSeconds: Number(of("seconds/sample").toFixed(3)),
      learnSeconds: Number(of("seconds/learn").toFixed(3)),
      tokensPerStep: Math.round(of("episodeTokens") * promptsPerStep * groupSize),
      peakMb: Math.round(process.resourceUsage().maxRSS / 1024),
    },
    peer: {
      secondsPerStep: Number(peerSeconds.toFixed(3)),
      cpuSecondsPerStep: Number(median(theirs.map((step) => step.cpuSeconds)).toFixed(3)),
      tokensPerStep: Math.round(median(theirs.map(({ tokens }) => tokens))),
      peakMb: Math.round(median(theirs.map(({ peakMb }) => peakMb))),
      ...versions,
    },
  });
}

/** Pictures as PNG files and a line for each prompt, in the order of the steps. */
async function writePrompts(records: readonly TaskRecord[]): Promise<string> {
  const file = join(work, "prompts.jsonl");
  const lines = await Promise.all(
    records.map(async (record, index) => {
      const [picture] = await loadImages(record);
      await writeFileAtomic(picturePath(index), await encodePng(picture));
      return { image: `${index}.png`, question: `${record.question}\n${noToolSuffix}` };
    }),
  );
  await writeJsonl(file, lines);
  return file;
}

function picturePath(index: number): string {
  return join(work, `${index}.png`);
}
