/**
 * Tokens a CPU second of one answer at a time, which is what `vigorl ask` does: a model folder of published
 * sizes, a prompt (an image of 24 × 24 patches and a question) and the likeliest tokens after it, through
 * our engine and transformers' `generate`, in turns on one machine. `decode` is what further tokens cost
 * once the first is there; `answer` has the prompt in it. Both models are in memory together.
 *
 *   npm run bench -- ask [--json] [--rounds 3] [--threads 2] [--model FOLDER | --layers 36]
 *     [--dtype bfloat16]
 */
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { loadTokenizer } from "../src/text/tokenizer.ts";
import {
  answeringFolder,
  answeringOptions,
  answeringPrompts,
  firstSchema,
  openOurs,
  startPeer,
  timingSchema,
  type Timing,
} from "./answering.ts";
import { median, peerPython, printResult } from "./peers.ts";

/** Tokens of an answer. */
const numTokens = 24;
/** Rounds that count for neither side. */
const warmUp = 1;

/** An answer of one token and one of all. */
interface Round {
  readonly short: Timing;
  readonly long: Timing;
}

const options = answeringOptions(3);
peerPython();
const work = await mkdtemp(join(tmpdir(), "vigorl-ask-"));
try {
  await benchmark();
} finally {
  await rm(work, { recursive: true, force: true });
}

async function benchmark(): Promise<void> {
  const folder = await answeringFolder(work, options);
  const numRounds = options.rounds + warmUp;
  const prompts = await answeringPrompts(work, 2 * numRounds);
  const { imagePadId } = await loadTokenizer("models/nano");
  const ours = await openOurs(folder, prompts[0], options);
  const peer = startPeer(folder, work, options, imagePadId);
  const { versions } = firstSchema.parse(await peer.ask());
  const rounds: { mine: Round; other: Round }[] = [];
  for (let round = 0; round < numRounds; round++) {
    const [a, b] = [2 * round, 2 * round + 1];
    const answered = async (prompt: number, tokens: number): Promise<Timing> =>
      timingSchema.parse(await peer.ask({ prompt, tokens }));
    const mine = {
      short: await ours.answer(prompts[a], 1),
      long: await ours.answer(prompts[b], numTokens),
    };
    const other = { short: await answered(a, 1), long: await answered(b, numTokens) };
    if (!options.json)
      console.log(
        `round ${round}: ours ${decode(mine).toFixed(2)}, transformers ${decode(other).toFixed(2)} tokens a CPU second`,
      );
    if (round >= warmUp) rounds.push({ mine, other });
  }
  await ours.close();
  peer.close();
  const ratio = (of: (round: Round) => number): number =>
    median(rounds.map(({ mine, other }) => of(mine) / of(other)));
  printResult({
    name: "ask",
    ratios: {
      decode: ratio(decode),
      answer: ratio(answer),
      decodeBySeconds: ratio(decodeBySeconds),
    },
    ours: summary(rounds.map(({ mine }) => mine)),
    peer: { ...summary(rounds.map(({ other }) => other)), ...versions },
  });
}

function decode({ short, long }: Round): number {
  return (numTokens - 1) / (long.cpuSeconds - short.cpuSeconds);
}

function decodeBySeconds({ short, long }: Round): number {
  return (numTokens - 1) / (long.seconds - short.seconds);
}

function answer({ long }: Round): number {
  return numTokens / long.cpuSeconds;
}

function summary(all: readonly Round[]) {
  const of = (pick: (round: Round) => number): number => Number(median(all.map(pick)).toFixed(3));
  return {
    decodeTokensPerCpuSecond: of(decode),
    decodeTokensPerSecond: of(decodeBySeconds),
    answerTokensPerCpuSecond: of(answer),
    promptSeconds: of(({ short }) => short.seconds),
    promptCpuSeconds: of(({ short }) => short.cpuSeconds),
  };
}
