/**
 * Training from end to end on the tiny model and the real engine: a warm start, reinforcement
 * learning, the parity gate against a learner that is shown something else, and runs that are
 * killed, interrupted and resumed.
 */
import { spawn } from "node:child_process";
import { mkdtemp, readFile, truncate } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { beforeAll, expect, test, vi } from "vitest";
import { hashFile } from "../src/core/files.ts";
import { createRunFolder, openRunFolder, type RunFolder } from "../src/core/run-folder.ts";
import { openLocalEngine } from "../src/engine/local/client.ts";
import type { Chunk, Datum, Learner } from "../src/engine/types.ts";
import { blankLike } from "../src/image/model-image.ts";
import { rewardConfigSchema } from "../src/task/reward.ts";
import { checkpointSteps } from "../src/train/checkpoint.ts";
import { collectExamples } from "../src/train/collect.ts";
import { trainRl } from "../src/train/grpo.ts";
import type { Metrics } from "../src/train/metrics.ts";
import { rlSchema } from "../src/train/rl-config.ts";
import { trainSft } from "../src/train/sft.ts";
import { sftSchema } from "../src/train/sft-config.ts";
import { makeTinyModel, tinyEpisode, tinyExamples, tinyRecords } from "./fixtures/tiny.ts";

/** Real training and child processes: slow where the machine is busy. */
const minutes = (count: number): number => count * 60_000;
vi.setConfig({ testTimeout: minutes(5) });

let root: string;
/** Knows the form of an episode with one crop, and a little of the answer. */
let warm: string;
let warmUp: Metrics[];

const open = (folder: string) => openLocalEngine(folder, { threads: 1, numSlots: 16 });
const newRun = (name: string, verb = "rl"): Promise<RunFolder> =>
  createRunFolder(join(root, name), { verb, name, seed: 1, recipe: {} });
const small = {
  promptsPerStep: 4,
  groupSize: 4,
  zeroVariance: "keep",
  learningRate: 1e-3,
} as const;

beforeAll(async () => {
  root = await mkdtemp(join(tmpdir(), "vigorl-train-"));
  const start = join(root, "start");
  await makeTinyModel(start);
  const learner = await open(start);
  const episode = await tinyEpisode(start, true);
  const examples = await tinyExamples(episode, tinyRecords(256, 2));
  warmUp = [];
  const result = await trainSft({
    learner,
    examples,
    run: await newRun("warm", "sft"),
    seed: 1,
    config: sftSchema.parse({ epochs: 5, batchSize: 16, learningRate: 6e-3 }),
    onStep: (metrics) => warmUp.push(metrics),
  });
  warm = result.folder;
  await learner.close();
}, minutes(5));

test("the warm start teaches the form, and lines of metrics say so", async () => {
  expect(warmUp.length).toBe(80);
  expect(warmUp.at(-1)!.loss!).toBeLessThan(0.25 * warmUp[0].loss!);
  const learner = await open(warm);
  const collected = await collectExamples({
    sampler: learner,
    records: tinyRecords(40, 4),
    episode: await tinyEpisode(warm, true),
    reward: rewardConfigSchema.parse({}),
    config: sftSchema.parse({ collect: { minToolUses: 1 } }).collect,
    seed: 1,
  });
  await learner.close();
  expect(collected.numEpisodes).toBe(160);
  expect(collected.examples.length).toBeGreaterThan(5);
  const categories = collected.examples.slice(0, 4).map((example) => example.category);
  expect(new Set(categories)).toEqual(new Set(["even", "odd"]));
});

test("an interrupted run is saved, and goes on to the same bytes", async () => {
  const examples = await tinyExamples(await tinyEpisode(warm, true), tinyRecords(48));
  const train = async (run: RunFolder, stopAt: number, resume: boolean): Promise<string> => {
    const learner = await open(warm);
    const controller = new AbortController();
    const config = sftSchema.parse({ epochs: 2, batchSize: 16 });
    const onStep = ({ step }: Metrics): void => {
      if (step === stopAt) controller.abort();
    };
    const options = { learner, examples, run, seed: 1, config, resume, onStep };
    try {
      return (await trainSft({ ...options, signal: controller.signal })).folder;
    } finally {
      await learner.close();
    }
  };
  const straight = await train(await newRun("straight", "sft"), 99, false);
  const run = await newRun("interrupted", "sft");
  await expect(train(run, 2, false)).rejects.toMatchObject({ code: "interrupted" });
  const resumed = await train(await openRunFolder(run.path), 99, true);
  expect(await weightsOf(resumed)).toEqual(await weightsOf(straight));
  expect(await losses(run.path)).toEqual(await losses(join(root, "straight")));

  await truncate(join(resumed, "model.safetensors"), 1000);
  const again = train(await openRunFolder(run.path), 99, true);
  await expect(again).rejects.toThrow("damaged checkpoint: model.safetensors has 1000 bytes");
});

/** Shows the learner something else than the sampler saw, in its forward and backward passes. */
function shown(learner: Learner, change: (chunks: readonly Chunk[]) => Chunk[]): Learner {
  const bend = (data: readonly Datum[]): Datum[] =>
    data.map((datum) => ({ ...datum, chunks: change(datum.chunks) }));
  return {
    capabilities: learner.capabilities,
    sample: (...args) => learner.sample(...args),
    forward: (data, options) => learner.forward(bend(data), options),
    forwardBackward: (data, loss) => learner.forwardBackward(bend(data), loss),
    optimStep: (params) => learner.optimStep(params),
    setReference: () => learner.setReference(),
    save: (...args) => learner.save(...args),
    load: (...args) => learner.load(...args),
    close: () => learner.close(),
  };
}

const imagesOf = (chunks: readonly Chunk[]) =>
  chunks.flatMap((chunk) => (chunk.type === "image" ? [chunk.image] : []));

const bends: Record<string, (chunks: readonly Chunk[]) => Chunk[]> = {
  "blanked pixels": (chunks) =>
    chunks.map((chunk) =>
      chunk.type === "text" ? chunk : { type: "image", image: blankLike(chunk.image) },
    ),
  "two images swapped": (chunks) => {
    const images = imagesOf(chunks).reverse();
    return chunks.map((chunk) =>
      chunk.type === "text" ? chunk : { type: "image", image: images.shift()! },
    );
  },
  "a placeholder shifted by one": (chunks) => {
    const [first, image, next, ...rest] = chunks;
    if (first.type !== "text" || next.type !== "text") throw new Error("unexpected chunks");
    const moved = { ...next, tokens: [first.tokens.at(-1)!, ...next.tokens] };
    return [{ ...first, tokens: first.tokens.slice(0, -1) }, image, moved, ...rest];
  },
};

test("validation keeps the best checkpoint, stops early, and resumes to the same bytes", async () => {
  const episode = await tinyEpisode(join(root, "start"), true);
  const examples = await tinyExamples(episode, tinyRecords(64, 3));
  const config = sftSchema.parse({
    epochs: 10,
    batchSize: 8,
    learningRate: 3e-3,
    checkpointEvery: 3,
    keepCheckpoints: 1,
    validate: { every: 4, records: 8, stopAfter: 2 },
  });
  const reward = rewardConfigSchema.parse({});
  const records = tinyRecords(8, 5);
  const validation = { records, episode, reward, config: config.validate, seed: 1 };
  const train = async (run: RunFolder, stopAt: number, resume: boolean) => {
    const learner = await open(join(root, "start"));
    const controller = new AbortController();
    const onStep = ({ step }: Metrics): void => {
      if (step === stopAt) controller.abort();
    };
    const { signal } = controller;
    try {
      return await trainSft({
        learner,
        examples,
        run,
        seed: 1,
        config,
        resume,
        validation,
        onStep,
        signal,
      });
    } finally {
      await learner.close();
    }
  };
  const run = await newRun("validated", "sft");
  const straight = await train(run, 99, false);
  const rows = await losses(run.path);
  const validated = rows.filter((row) => row["validation/accuracy"] !== undefined);
  expect(validated.map(({ step }) => step! % 4)).toEqual(validated.map(() => 0));
  const best = Math.max(...validated.map((row) => row["validation/accuracy"]!));
  const first = validated.find((row) => row["validation/accuracy"] === best)!;
  expect(straight.best).toMatchObject({ step: first.step, accuracy: best, numSince: 2 });
  expect(straight).toMatchObject({ isStoppedEarly: true, step: first.step! + 8 });
  expect((await checkpointSteps(run.checkpointsPath)).map(String)).toEqual(
    [first.step!, straight.step].map(String),
  );
  const stopped = await newRun("validated and stopped", "sft");
  await expect(train(stopped, 5, false)).rejects.toMatchObject({ code: "interrupted" });
  const resumed = await train(await openRunFolder(stopped.path), 99, true);
  expect(await weightsOf(resumed.folder)).toEqual(await weightsOf(straight.folder));
  expect(await weightsOf(resumed.best!.folder)).toEqual(await weightsOf(straight.best!.folder));
  expect(await losses(stopped.path)).toEqual(rows);
  // What is over stays over.
  const again = await train(await openRunFolder(stopped.path), 99, true);
  expect(again).toMatchObject({ step: straight.step, metrics: undefined });
});

const faults: Record<string, RegExp> = {
  "blanked pixels": /^parity: tiny-\d+#\d: in the place of image 1 the learner gets other pixels/,
  "two images swapped": /^parity: tiny-\d+#\d: in the place of image 1 the learner gets image 2/,
  "a placeholder shifted by one": /^parity: tiny-\d+#\d: sampler and learner disagree/,
};

test.each([undefined, ...Object.keys(bends)])("the parity gate and %s", async (name) => {
  const engine = await open(warm);
  const learner = name === undefined ? engine : shown(engine, bends[name]);
  const rows: Metrics[] = [];
  const training = trainRl({
    learner,
    records: tinyRecords(32),
    episode: await tinyEpisode(warm, true),
    run: await newRun(`parity ${name}`),
    seed: 1,
    config: rlSchema.parse({ ...small, steps: 1, parity: { maxGap: 1e-4 } }),
    onStep: (metrics) => rows.push(metrics),
  });
  if (name === undefined) {
    await training;
    expect(rows[0]["parity/gapMax"]).toBeLessThan(1e-4);
    expect(rows[0]["parity/blindGap"]).toBeGreaterThan(1e-4);
  } else {
    await expect(training).rejects.toMatchObject({
      code: "numerics",
      message: expect.stringMatching(faults[name]) as string,
    });
    expect(rows).toEqual([]);
  }
  await engine.close();
});

test("a model that is never right or in form: both kinds of training stop and say so", async () => {
  const start = join(root, "start");
  const learner = await open(start);
  const episode = await tinyEpisode(start, true);
  const told = expect.stringMatching(
    /\n {2}asked: "Which digit is on the red star\?" \(tiny-\d+\)\n {2}reply: ".*" \(\w+, reward 0\)/,
  ) as string;
  const collecting = collectExamples({
    sampler: learner,
    records: tinyRecords(4),
    episode,
    reward: rewardConfigSchema.parse({}),
    config: sftSchema.parse({}).collect,
    seed: 1,
  });
  await expect(collecting).rejects.toMatchObject({ code: "input", message: told });
  const training = trainRl({
    learner,
    records: tinyRecords(32),
    episode,
    run: await newRun("idle"),
    seed: 1,
    config: rlSchema.parse({ ...small, steps: 5, maxIdleSteps: 2 }),
  });
  await expect(training).rejects.toMatchObject({ code: "input", message: told });
  await expect(training).rejects.toThrow("step 2: nothing to learn from for 2 steps in a row");
  await learner.close();
});

test.each(["gspo", "cispo"] as const)(
  "%s at temperature 0.7 passes the gate and learns",
  async (loss) => {
    const learner = await open(warm);
    const rows: Metrics[] = [];
    const { updates } = await trainRl({
      learner,
      records: tinyRecords(32),
      episode: await tinyEpisode(warm, true),
      run: await newRun(loss),
      seed: 1,
      config: rlSchema.parse({
        ...small,
        loss,
        temperature: 0.7,
        steps: 1,
        numUpdates: 2,
        parity: { maxGap: 1e-4 },
      }),
      onStep: (metrics) => rows.push(metrics),
    });
    await learner.close();
    expect(updates).toBe(2);
    expect(rows[0]["parity/gapMax"]).toBeLessThan(1e-4);
    expect(rows[0].gradNorm).toBeGreaterThan(0);
  },
);

test("episodes in flight, one or many, learn the same weights", async () => {
  const train = async (concurrency: number): Promise<string[]> => {
    const learner = await open(warm);
    const { folder } = await trainRl({
      learner,
      records: tinyRecords(32),
      episode: await tinyEpisode(warm, true),
      run: await newRun(`concurrency ${concurrency}`),
      seed: 1,
      config: rlSchema.parse({ ...small, steps: 2, concurrency }),
    });
    await learner.close();
    return weightsOf(folder);
  };
  expect(await train(1)).toEqual(await train(64));
});

test(
  "kill -9 at any moment, resume: the same bytes as the undisturbed run",
  async () => {
    const straight = join(root, "undisturbed");
    await child(straight, []);
    const expected = await weightsOf(join(straight, "checkpoints/step-5"));
    for (const row of await losses(straight)) expect(row.gradNorm).toBeGreaterThan(0);
    const moments = [
      { line: "step 1", waitMs: 0 },
      { line: "step 2", waitMs: 0 },
      { line: "step 3", waitMs: 40 },
    ];
    for (const [i, { line, waitMs }] of moments.entries()) {
      const folder = join(root, `killed ${i}`);
      await child(folder, [], line, waitMs);
      await child(folder, ["resume"]);
      expect(await weightsOf(join(folder, "checkpoints/step-5"))).toEqual(expected);
      expect(await losses(folder)).toEqual(await losses(straight));
    }
  },
  minutes(8),
);

/** Runs the child to its end, or kills it `waitMs` after it has printed `killAt`. */
async function child(folder: string, args: string[], killAt?: string, waitMs = 0): Promise<void> {
  const script = join(import.meta.dirname, "fixtures/tiny-rl.ts");
  const command = ["--import", "tsx", script, warm, folder, ...args];
  const running = spawn(process.execPath, command, { stdio: ["ignore", "pipe", "inherit"] });
  const ended = new Promise<number | null>((resolve) => running.on("exit", resolve));
  let output = "";
  for await (const part of running.stdout) {
    output += String(part);
    if (killAt === undefined || !output.includes(killAt)) continue;
    await sleep(waitMs);
    running.kill("SIGKILL");
    break;
  }
  const code = await ended;
  expect(code).toBe(killAt === undefined ? 0 : null);
}

/** Hashes of weights and optimizer. */
async function weightsOf(folder: string): Promise<string[]> {
  const names = ["model.safetensors", "optimizer.safetensors", "optimizer.json"];
  return Promise.all(names.map((name) => hashFile(join(folder, name))));
}

/** All that a step says but its times, every digit of it. */
async function losses(folder: string): Promise<Partial<Metrics>[]> {
  const text = await readFile(join(folder, "metrics.jsonl"), "utf8");
  return text
    .trim()
    .split("\n")
    .map((line) => JSON.parse(line) as Metrics)
    .map((row) => Object.fromEntries(Object.entries(row).filter(([name]) => !isTime(name))));
}

function isTime(name: string): boolean {
  return name.startsWith("seconds/") || name.startsWith("tokensPerSecond/");
}
