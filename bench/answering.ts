/**
 * What `load.ts` and `ask.ts` share: a model folder of published sizes, prompts, and both sides answering
 * one prompt after another, the likeliest token first.
 */
import { spawnSync } from "node:child_process";
import { mkdir, readdir, symlink, writeFile } from "node:fs/promises";
import { cpus } from "node:os";
import { join, resolve } from "node:path";
import { parseArgs } from "node:util";
import { z } from "zod";
import { VigorlError } from "../src/core/errors.ts";
import { openLocalEngine } from "../src/engine/local/client.ts";
import type { Chunk } from "../src/engine/types.ts";
import { loadTokenizer } from "../src/text/tokenizer.ts";
import { Peer, peerPython } from "./peers.ts";
import { promptsOf, writePrompts } from "./prompts.ts";

/** 24 × 24 patches. */
const sidePx = 336;

export const timingSchema = z.object({
  seconds: z.number(),
  cpuSeconds: z.number(),
  tokens: z.array(z.number()),
});
export type Timing = z.infer<typeof timingSchema>;

/** From the call that loads to the first token, and from the start of the process. */
export const firstSchema = timingSchema.extend({
  ready: z.literal(true),
  wholeSeconds: z.number(),
  peakMb: z.number(),
  versions: z.record(z.string(), z.string()).default({}),
});
export type First = z.infer<typeof firstSchema>;

export function answeringOptions(defaultRounds: number) {
  const { values } = parseArgs({
    options: {
      json: { type: "boolean", default: false },
      rounds: { type: "string", default: String(defaultRounds) },
      threads: { type: "string", default: String(cpus().length) },
      model: { type: "string" },
      layers: { type: "string", default: "36" },
      dtype: { type: "string", default: "bfloat16" },
      child: { type: "string" },
      started: { type: "string" },
    },
  });
  return {
    ...values,
    rounds: Number(values.rounds),
    threads: Number(values.threads),
    dtype: z.enum(["float32", "bfloat16"]).parse(values.dtype),
  };
}

/**
 * A folder whose answers have their full length: `model`, or random weights at the sizes of a published
 * 3B with this many layers, in `work`.
 */
export async function answeringFolder(
  work: string,
  { model, layers }: { readonly model?: string; readonly layers: string },
): Promise<string> {
  const made = model ?? join(work, "made");
  if (model === undefined) {
    const script = join("bench", "peers", "random_model.py");
    const args = [script, "--nano", "models/nano", "--out", made, "--layers", layers];
    const { status } = spawnSync(peerPython(), args, { stdio: ["ignore", 2, 2] });
    if (status !== 0) throw new VigorlError("missing", `${script} failed (see above)`);
  }
  const folder = join(work, "model");
  await mkdir(folder);
  const left = ["tokenizer.json", "generation_config.json"];
  for (const file of await readdir(made))
    if (!left.includes(file)) await symlink(resolve(made, file), join(folder, file));
  await writeFile(join(folder, "generation_config.json"), "{}\n");
  return folder;
}

/** Prompts of so many rounds, written for the peer to `work`. */
export async function answeringPrompts(work: string, count: number): Promise<Chunk[][]> {
  const tokenizer = await loadTokenizer("models/nano");
  const prompts: Chunk[][] = [];
  for (let round = 0; round < count; round++) {
    const some = promptsOf(tokenizer, { round, count: 1, sidePx });
    await writePrompts(join(work, String(round)), some, tokenizer);
    prompts.push(...some);
  }
  return prompts;
}

export interface Answering {
  readonly first: Timing;
  answer(prompt: readonly Chunk[], numTokens: number): Promise<Timing>;
  close(): Promise<void>;
}

/** Opens our engine and lets it answer the first prompt with one token. */
export async function openOurs(
  folder: string,
  prompt: readonly Chunk[],
  { dtype, threads }: { readonly dtype: "float32" | "bfloat16"; readonly threads: number },
): Promise<Answering> {
  const start = clock();
  const engine = await openLocalEngine(folder, { dtype, threads, learns: false });
  const answer = async (
    asked: readonly Chunk[],
    maxTokens: number,
    since = clock(),
  ): Promise<Timing> => {
    const params = { temperature: 0, maxTokens, seed: 1, topP: 1, topK: 0, stop: [] };
    const { tokens } = await engine.sample(asked, params);
    return { ...since(), tokens: [...tokens] };
  };
  return { first: await answer(prompt, 1, start), answer, close: () => engine.close() };
}

/** Starts transformers on the same folder and prompts; its first answer comes of itself. */
export function startPeer(
  folder: string,
  work: string,
  { dtype, threads }: { readonly dtype: string; readonly threads: number },
  imagePadId: number,
): Peer {
  return new Peer("answer.py", [
    `--model=${folder}`,
    `--prompts=${work}`,
    `--pad=${imagePadId}`,
    `--threads=${threads}`,
    `--dtype=${dtype}`,
    `--started=${Date.now() / 1000}`,
  ]);
}

/** Starts to measure; what it returns says how long it was. */
export function clock(): () => { seconds: number; cpuSeconds: number } {
  const startCpu = process.cpuUsage();
  const start = performance.now();
  return () => {
    const { user, system } = process.cpuUsage(startCpu);
    const seconds = (performance.now() - start) / 1000;
    return { seconds, cpuSeconds: (user + system) / 1e6 };
  };
}
