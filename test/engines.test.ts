/**
 * The same questions to the same weights, in process and behind our own server: the same outcomes,
 * token for token, log-probability for log-probability. And what verbs say of engines that cannot.
 */
import { spawnSync } from "node:child_process";
import { existsSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join, resolve } from "node:path";
import { afterAll, beforeAll, expect, test } from "vitest";
import { engineSchema, openSampler, resolveEngine } from "../src/engine/open.ts";
import type { Sampler } from "../src/engine/types.ts";
import { evaluate, evalSchema } from "../src/eval/evaluate.ts";
import { nanoRecords } from "../src/nano/tasks.ts";
import { createApp } from "../src/serve/app.ts";
import { startServer } from "../src/serve/server.ts";
import type { EpisodeConfig } from "../src/task/episode-config.ts";
import type { Trajectory } from "../src/task/trajectory.ts";
import { makeTinyModel, tinyEpisode } from "./fixtures/tiny.ts";

const needs = { purpose: "eval", capabilities: ["images", "tokenExact"] as const };
const records = nanoRecords({ task: "search", split: "heldout", count: 8, seed: 3 });
const nano = resolve(import.meta.dirname, "../models/nano");
let folder: string;

beforeAll(async () => {
  folder = mkdtempSync(join(tmpdir(), "vigorl-engines-"));
  await makeTinyModel(join(folder, "model"));
});
afterAll(() => rmSync(folder, { recursive: true, force: true }));

async function answers(sampler: Sampler, episode: EpisodeConfig) {
  const episodes = new Map<string, Trajectory>();
  const { outcomes } = await evaluate({
    sampler,
    records,
    episode,
    config: evalSchema.parse({ temperature: 1, concurrency: 4 }),
    condition: "none",
    seed: 5,
    onEpisode: (one) => void episodes.set(one.recordId, withoutPlace(one)),
  });
  return { outcomes, episodes };
}

/** Without the clock, and without the hashes of what was read, which only an engine in process tells. */
function withoutPlace(one: Trajectory): Trajectory {
  const chunks = one.chunks.map((chunk) =>
    "imageHashes" in chunk ? { ...chunk, imageHashes: undefined } : chunk,
  );
  return { ...one, chunks, seconds: 0 };
}

// Random weights sample what no trained ones do, ids without a token too; trained ones zoom and answer.
test.each([
  ["random", () => join(folder, "model")],
  ["trained", () => nano],
])("eval of %s weights by URL gives what it gives in process, token for token", async (_, at) => {
  const model = at();
  const episode = await tinyEpisode(model, true);
  const local = engineSchema.parse({ model, threads: 1, slots: 8 });
  const near = await openSampler(local, needs, { processorFolder: model });
  const app = createApp({ sampler: near, format: episode, model: "tiny" });
  const server = await startServer(app, { host: "127.0.0.1", port: 0 });
  const section = { kind: "openai", url: server.url, folder: model };
  const far = await resolveEngine(engineSchema.parse(section));
  const { maxPositions } = near.capabilities;
  expect(far).toMatchObject({ model: "tiny", server: "vigorl", maxPositions });
  const remote = await openSampler(far, needs, { processorFolder: model });
  try {
    expect(remote.capabilities).toMatchObject({ tokenExact: true, learn: false });
    const here = await answers(near, episode);
    const there = await answers(remote, episode);
    expect(there.outcomes).toEqual(here.outcomes);
    expect(there.episodes).toEqual(here.episodes);
    if (model !== nano) return;
    expect(here.outcomes.filter(({ toolUses }) => toolUses > 0).length).toBeGreaterThan(2);
    expect(here.outcomes.filter(({ answer }) => answer !== null).length).toBeGreaterThan(4);
  } finally {
    await remote.close();
    await server.close();
    await near.close();
  }
});

/** Runs `vigorl` in the test's folder, as the launcher does. */
function vigorl(...args: string[]) {
  const root = resolve(import.meta.dirname, "..");
  const loader = `file://${root}/node_modules/tsx/dist/loader.mjs`;
  return spawnSync(process.execPath, ["--import", loader, join(root, "src/cli.ts"), ...args], {
    cwd: folder,
    encoding: "utf8",
    env: { ...process.env, OMP_NUM_THREADS: "1" },
  });
}

test("a prompt that has no room ends a verb with 2, its size, the limit and the keys", () => {
  const data =
    "data: { train: [{ nano: search, count: 2 }], heldout: [{ nano: search, count: 2 }] }";
  writeFileSync(
    join(folder, "long.yaml"),
    `name: long\nengine: { model: model, threads: 1, maxPositions: 20 }\nprompts: { style: nano }\n${data}\n`,
  );
  vigorl("data", "nano", "--count", "1", "--out", "one.jsonl");
  const [image] = readdirSync(join(folder, "images"));
  const asked = ["ask", join("images", image), "Which digit is on the red star?"];
  const said =
    /the prompt takes \d+ positions, 16 of them images; local has 20 .*engine\.maxPositions.*image\.maxPixels/;
  for (const args of [
    [...asked, "--recipe", "long.yaml"],
    ["eval", "long.yaml", "--out", "long"],
    ["search", "long.yaml", "--out", "long", "--overwrite"],
    ["rl", "long.yaml", "--out", "long", "--overwrite", "--rl.steps=1"],
  ]) {
    const { status, stderr, stdout } = vigorl(...args);
    expect([args[0], status, stdout]).toEqual([args[0], 2, ""]);
    expect(stderr).toMatch(said);
    expect(stderr).not.toMatch(/\n\s+at /);
  }
  expect(readdirSync(folder).filter((name) => name.includes("looked"))).toEqual([]);
}, 120_000);

test("what an engine lacks, and a place that is taken, are told before anything is loaded", () => {
  writeFileSync(
    join(folder, "r.yaml"),
    `name: r\nengine: { model: no/such/folder }\nprompts: { style: nano }\ndata: { train: [{ nano: search, count: 2 }], heldout: [{ nano: search, count: 2 }] }\n`,
  );
  const server = ["--engine.kind=openai", "--engine.url=http://127.0.0.1:1/v1"];
  const rl = vigorl("rl", "r.yaml", ...server);
  expect(rl.status).toBe(2);
  expect(rl.stderr).toMatch(/rl: an engine of kind openai lacks learn .*, promptLogprobs .*blind/);
  const homeless = vigorl("eval", "r.yaml", ...server);
  expect(homeless.status).toBe(2);
  expect(homeless.stderr).toMatch(/names no folder of tokenizer.*\n {2}fix: set engine\.folder/);
  expect(existsSync(join(folder, "runs"))).toBe(false);

  const small = ["--episode.maxTurns=1", "--episode.maxTokensPerTurn=4", "--engine.threads=1"];
  const first = vigorl("eval", "r.yaml", "--model", "model", ...small, "--json");
  expect(first.stderr).toBe("");
  const manifest = JSON.parse(readFileSync(join(folder, "runs/r/manifest.json"), "utf8")) as {
    engine: Record<string, unknown>;
  };
  expect(manifest.engine).toMatchObject({
    kind: "local",
    model: "model",
    dtype: "float32",
    maxPositions: 4096,
    threads: 1,
    samplers: 1,
    slots: 32,
  });
  // The folder that the recipe names does not exist; the run that is there is told first.
  const again = vigorl("eval", "r.yaml");
  expect([again.status, again.stderr]).toEqual([2, expect.stringContaining("holds a run already")]);
  expect(readdirSync(join(folder, "runs"))).toEqual(["r"]);
}, 60_000);
