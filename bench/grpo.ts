/**
 * One GRPO step, from prompts to new weights: 16 prompts (an image of 448×448 and a question) × 8
 * episodes of at most 64 new tokens, rewards, advantages, backward pass and AdamW, on our engine and
 * on TRL's GRPOTrainer, from the same checkpoint and on the same prompts, in turns on one machine.
 * Single turn, as the peer has it; every episode is learned from on both sides; ours runs with its
 * parity gate. Images and questions are new in every step.
 *
 *   npm run bench -- grpo [--json] [--rounds 5] [--threads 2] [--model models/nano]
 */
import { mkdir, mkdtemp, rm } from "node:fs/promises";
import { cpus, tmpdir } from "node:os";
import { join } from "node:path";
import { parseArgs } from "node:util";
import { z } from "zod";
import { writeFileAtomic } from "../src/core/files.ts";
import { writeJsonl } from "../src/core/jsonl.ts";
import { stream } from "../src/core/random.ts";
import { createRunFolder } from "../src/core/run-folder.ts";
import { openLocalEngine } from "../src/engine/local/client.ts";
import { encodePng, type RgbImage } from "../src/image/decode.ts";
import { episodeSettingsSchema, loadEpisodeConfig } from "../src/task/episode-config.ts";
import type { TaskRecord } from "../src/task/record.ts";
import { trainRl } from "../src/train/grpo.ts";
import type { Metrics } from "../src/train/metrics.ts";
import { rlSchema } from "../src/train/rl-config.ts";
import { median, Peer, peerPython, printResult } from "./peers.ts";

const promptsPerStep = 16;
const groupSize = 8;
const newTokens = 64;
const canvasPx = 448;

const { values } = parseArgs({
  options: {
    json: { type: "boolean", default: false },
    rounds: { type: "string", default: "5" },
    threads: { type: "string", default: String(cpus().length) },
    model: { type: "string", default: "models/nano" },
  },
});
const rounds = Number(values.rounds);
const threads = Number(values.threads);

const readySchema = z.object({
  ready: z.literal(true),
  versions: z.record(z.string(), z.string()),
});
const stepSchema = z.object({ seconds: z.number(), tokens: z.number(), peakMb: z.number() });

peerPython();
const work = await mkdtemp(join(tmpdir(), "vigorl-grpo-"));
try {
  await benchmark();
} finally {
  await rm(work, { recursive: true, force: true });
}

async function benchmark(): Promise<void> {
  const batches = Array.from({ length: rounds + 1 }, (_, round) => recordsOf(round));
  const prompts = await writePrompts(batches.flat());
  const peer = new Peer("grpo.py", [
    ...["--model", values.model, "--prompts", prompts, "--threads", String(threads)],
    ...["--per-step", String(promptsPerStep), "--group", String(groupSize)],
    ...["--tokens", String(newTokens)],
  ]);
  const { versions } = readySchema.parse(await peer.ask());

  const learner = await openLocalEngine(values.model, { threads, maxPositions: 512 });
  const episode = await loadEpisodeConfig(
    values.model,
    episodeSettingsSchema.parse({
      zoom: { enabled: false, maxTokensPerTurn: newTokens, maxTotalTokens: newTokens },
      prompts: { style: "nano" },
    }),
  );
  const config = rlSchema.parse({
    ...{ promptsPerStep, groupSize, concurrency: promptsPerStep * groupSize, steps: 1 },
    ...{ zeroVariance: "keep", overlong: "keep", learningRate: 1e-5, tracesPerStep: 0 },
  });

  const ours: Metrics[] = [];
  const theirs: z.infer<typeof stepSchema>[] = [];
  // Step 0 warms both sides up.
  for (const [round, records] of batches.entries()) {
    const description = { verb: "rl", name: "bench", seed: round, recipe: {} };
    const run = await createRunFolder(join(work, `run-${round}`), description);
    const { metrics } = await trainRl({ learner, records, episode, config, run, seed: round });
    const other = stepSchema.parse(await peer.ask({ step: round }));
    if (round === 0) continue;
    ours.push(metrics!);
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
      sampleSeconds: Number(of("seconds/sample").toFixed(3)),
      learnSeconds: Number(of("seconds/learn").toFixed(3)),
      tokensPerStep: Math.round(of("episodeTokens") * promptsPerStep * groupSize),
      peakMb: Math.round(process.resourceUsage().maxRSS / 1024),
    },
    peer: {
      secondsPerStep: Number(peerSeconds.toFixed(3)),
      tokensPerStep: Math.round(median(theirs.map(({ tokens }) => tokens))),
      peakMb: Math.round(median(theirs.map(({ peakMb }) => peakMb))),
      ...versions,
    },
  });
}

function recordsOf(round: number): TaskRecord[] {
  return Array.from({ length: promptsPerStep }, (_, p) => {
    const index = round * promptsPerStep + p;
    return {
      id: `prompt-${index}`,
      images: [{ kind: "render", name: "noise", render: () => noise(index) }],
      question: `Which digit is on the red star? Answer at once.`,
      kind: "number",
      answer: String(index % 10),
    };
  });
}

function noise(index: number): RgbImage {
  const random = stream(1, "grpo", index);
  const data = Uint8Array.from({ length: canvasPx * canvasPx * 3 }, () => random.int(0, 255));
  return { widthPx: canvasPx, heightPx: canvasPx, data };
}

/** The same prompts as files: PNGs, and a line each in the order of the steps. */
async function writePrompts(records: readonly TaskRecord[]): Promise<string> {
  const file = join(work, "prompts.jsonl");
  await mkdir(work, { recursive: true });
  const lines = await Promise.all(
    records.map(async ({ question }, index) => {
      await writeFileAtomic(join(work, `${index}.png`), await encodePng(noise(index)));
      return { image: `${index}.png`, question };
    }),
  );
  await writeJsonl(file, lines);
  return file;
}
