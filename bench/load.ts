/**
 * From nothing to the first token on a CPU: seconds and peak memory of opening a model folder of published
 * sizes and answering a prompt (an image of 24 × 24 patches and a question) with one token, ours and
 * transformers' `from_pretrained` and `generate`, a fresh process each, in turns on one machine. Seconds
 * count from the call that loads; from the start of the process they are reported beside them.
 *
 *   npm run bench -- load [--json] [--rounds 3] [--threads 2] [--model FOLDER | --layers 36]
 *     [--dtype bfloat16]
 */
import { spawnSync } from "node:child_process";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { VigorlError } from "../src/core/errors.ts";
import { loadTokenizer } from "../src/text/tokenizer.ts";
import {
  answeringFolder,
  answeringOptions,
  answeringPrompts,
  firstSchema,
  openOurs,
  startPeer,
  type First,
} from "./answering.ts";
import { median, peerPython, printResult } from "./peers.ts";

const options = answeringOptions(3);
if (options.child === undefined) await benchmark();
else await child(options.child);

async function benchmark(): Promise<void> {
  peerPython();
  const work = await mkdtemp(join(tmpdir(), "vigorl-load-"));
  try {
    const folder = await answeringFolder(work, options);
    await answeringPrompts(work, 1);
    const { imagePadId } = await loadTokenizer("models/nano");
    const ours: First[] = [];
    const theirs: First[] = [];
    // The first pair brings the files into memory.
    for (let round = 0; round <= options.rounds; round++) {
      const mine = inProcess(folder);
      const peer = startPeer(folder, work, options, imagePadId);
      const other = firstSchema.parse(await peer.ask());
      peer.close();
      if (!options.json) console.log(`round ${round}: ours ${told(mine)}; peer ${told(other)}`);
      if (round === 0) continue;
      ours.push(mine);
      theirs.push(other);
    }
    const ratio = (of: (first: First) => number): number =>
      median(theirs.map(of)) / median(ours.map(of));
    printResult({
      name: "load",
      ratios: {
        seconds: ratio(({ seconds }) => seconds),
        cpuSeconds: ratio(({ cpuSeconds }) => cpuSeconds),
        secondsOfProcess: ratio(({ wholeSeconds }) => wholeSeconds),
        peakMb: ratio(({ peakMb }) => peakMb),
      },
      ours: summary(ours),
      peer: { ...summary(theirs), ...theirs[0].versions },
    });
  } finally {
    await rm(work, { recursive: true, force: true });
  }
}

function inProcess(folder: string): First {
  const { threads, dtype } = options;
  const args = [
    `--child=${folder}`,
    `--threads=${threads}`,
    `--dtype=${dtype}`,
    `--started=${Date.now() / 1000}`,
  ];
  const tsx = fileURLToPath(import.meta.resolve("tsx"));
  const own = fileURLToPath(import.meta.url);
  const { status, stdout } = spawnSync(process.execPath, ["--import", tsx, own, ...args], {
    stdio: ["ignore", "pipe", "inherit"],
    encoding: "utf8",
  });
  if (status !== 0) throw new VigorlError("missing", "our own process failed (see above)");
  return firstSchema.parse(JSON.parse(stdout));
}

async function child(folder: string): Promise<void> {
  const work = await mkdtemp(join(tmpdir(), "vigorl-load-child-"));
  try {
    const [prompt] = await answeringPrompts(work, 1);
    const ours = await openOurs(folder, prompt, options);
    const peakMb = process.resourceUsage().maxRSS / 1024;
    const wholeSeconds = Date.now() / 1000 - Number(options.started);
    console.log(JSON.stringify({ ready: true, ...ours.first, wholeSeconds, peakMb }));
    await ours.close();
  } finally {
    await rm(work, { recursive: true, force: true });
  }
}

function told({ seconds, cpuSeconds, wholeSeconds, peakMb }: First): string {
  return `${seconds.toFixed(1)} s (${cpuSeconds.toFixed(1)} of processors, ${wholeSeconds.toFixed(1)} with its start), ${peakMb.toFixed(0)} MB`;
}

function summary(all: readonly First[]) {
  const of = (pick: (first: First) => number): number => Number(median(all.map(pick)).toFixed(2));
  return {
    seconds: of(({ seconds }) => seconds),
    cpuSeconds: of(({ cpuSeconds }) => cpuSeconds),
    secondsOfProcess: of(({ wholeSeconds }) => wholeSeconds),
    peakMb: of(({ peakMb }) => peakMb),
    token: all[0].tokens[0],
  };
}
