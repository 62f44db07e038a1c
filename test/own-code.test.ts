/**
 * Code of a user's own, as the pages in docs/ have it: a reward as a module and as a server in Python,
 * a tool, a judge and questions each train five steps, and move what they are there to move.
 */
import { execFile, spawn, spawnSync, type ChildProcess } from "node:child_process";
import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { join, resolve } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { promisify } from "node:util";
import { afterAll, beforeAll, expect, test, vi } from "vitest";
import type { Metrics } from "../src/train/metrics.ts";
import { makeTinyRecipe } from "./fixtures/tiny-recipe.ts";

vi.setConfig({ testTimeout: 300_000, hookTimeout: 300_000 });

const root = resolve(import.meta.dirname, "..");
const hasPython = spawnSync("python3", ["-c", "import http.server"]).status === 0;
let folder: string;
let model: string;

beforeAll(async () => {
  // Below the repository, so that modules find their packages.
  mkdirSync(join(root, "build"), { recursive: true });
  folder = mkdtempSync(join(root, "build/own-code-"));
  const tiny = readFileSync(await makeTinyRecipe(folder), "utf8");
  model = /engine: \{ model: ([^,]+),/.exec(tiny)![1];
});
afterAll(() => rmSync(folder, { recursive: true, force: true }));

/** The first block of code in a page in this language. */
function example(page: string, language: "ts" | "python"): string {
  const text = readFileSync(join(root, "docs", page), "utf8");
  return new RegExp(`\`\`\`${language}\n([^]*?)\`\`\``).exec(text)![1];
}

/** Trains five steps by the command line; gives what each step said. */
async function train(name: string, lines: string): Promise<Metrics[]> {
  const recipe = `name: ${name}
engine: { model: ${model}, threads: 1, memory: { cacheGiB: 1 } }
episode: { maxTurns: 3, maxToolImages: 2, maxTokensPerTurn: 48, maxTotalTokens: 160 }
prompts: { style: nano }
eval: { traces: 2 }
${lines}`;
  writeFileSync(join(folder, `${name}.yaml`), recipe);
  const args = [
    "--import",
    `file://${root}/node_modules/tsx/dist/loader.mjs`,
    join(root, "src/cli.ts"),
    "rl",
    join(folder, `${name}.yaml`),
    "--quiet",
  ];
  const env = { ...process.env, OMP_NUM_THREADS: "1" };
  // Paths are relative to the recipe, wherever the program is started.
  await promisify(execFile)(process.execPath, [...args, "--out", join(folder, "runs")], { env });
  const text = readFileSync(join(folder, "runs", name, "metrics.jsonl"), "utf8");
  return text
    .trim()
    .split("\n")
    .map((line) => JSON.parse(line) as Metrics);
}

const learning =
  "steps: 5, promptsPerStep: 8, groupSize: 16, learningRate: 2.0e-3, parity: { enabled: false }";
const search = `tools: { zoom: { windowPx: 8, outputPx: 112 } }
data: { train: [{ nano: search, count: 24 }] }
`;
const figure = (row: Metrics, name: string) => (row as unknown as Record<string, number>)[name];

test("a reward module is what is learned", async () => {
  writeFileSync(join(folder, "reward.ts"), example("own-reward.md", "ts"));
  const rows = await train(
    "module",
    `${search}rl: { ${learning}, reward: { module: ./reward.ts } }\n`,
  );
  expect(rows).toHaveLength(5);
  expect(figure(rows[4], "reward/small")).toBeGreaterThan(figure(rows[0], "reward/small"));
  for (const row of rows) {
    const sum = ["right", "small", "length"].reduce(
      (all, name) => all + figure(row, `reward/${name}`),
      0,
    );
    expect(row.reward).toBeCloseTo(sum, 9);
    expect(figure(row, "reward/right")).toBeCloseTo(row.accuracy!, 9);
    expect(row).not.toHaveProperty("reward/format");
  }
});

test.skipIf(!hasPython)("a server in Python gives the same run (needs python3)", async () => {
  const port = 20_000 + (process.pid % 20_000);
  writeFileSync(
    join(folder, "reward.py"),
    example("own-reward.md", "python").replace("8321", String(port)),
  );
  const server: ChildProcess = spawn("python3", [join(folder, "reward.py")], { stdio: "inherit" });
  try {
    for (let tries = 0; tries < 50; tries++) {
      const up = await fetch(`http://127.0.0.1:${port}/`).then(
        () => true,
        () => false,
      );
      if (up) break;
      await sleep(100);
    }
    const rows = await train(
      "server",
      `${search}rl: { ${learning}, reward: { url: "http://127.0.0.1:${port}/", server: { batchSize: 10 } } }\n`,
    );
    const same = readFileSync(join(folder, "runs/module/metrics.jsonl"), "utf8").split("\n");
    const { loss, gradNorm, reward } = JSON.parse(same[4]) as Metrics;
    expect(rows[4]).toMatchObject({ loss, gradNorm, reward });
  } finally {
    server.kill("SIGKILL");
  }
});

test("a tool module is called, and what it refuses is called less", async () => {
  const tool = example("own-tool.md", "ts")
    // The tiny model knows this call.
    .replace('"brightness_at"', '"search_coordinate"')
    .replace("if (column < 0", "if (x < 56 || column < 0");
  expect(tool).toContain("x < 56");
  writeFileSync(join(folder, "tool.ts"), tool);
  writeFileSync(
    join(folder, "faults.mjs"),
    "export default ({ toolUses }) => -toolUses.filter(({ fault }) => fault !== null).length;\n",
  );
  const rows = await train(
    "tool",
    `tools: [./tool.ts]
data: { train: [{ nano: search, count: 24 }] }
rl: { ${learning}, reward: { module: ./faults.mjs } }\n`,
  );
  expect(rows[0].toolUsesPerEpisode!).toBeGreaterThan(0);
  expect(rows[0].invalidCalls!).toBeGreaterThan(0);
  expect(rows[4].invalidCalls!).toBeLessThan(rows[0].invalidCalls!);
});

test("a judge and questions of one's own", async () => {
  writeFileSync(join(folder, "judge.ts"), example("own-judge.md", "ts"));
  const judged = await train(
    "judge",
    `${search}judge: { module: ./judge.ts }
rl: { ${learning} }\n`,
  );
  // Neighbours of the right digit count half: more than the kind's own rule, and graded.
  expect(judged.some(({ accuracy }) => (accuracy! * 256) % 2 === 1)).toBe(true);
  // The first step plays the same episodes as that of the reward module, by another judge.
  const usual = readFileSync(join(folder, "runs/module/metrics.jsonl"), "utf8").split("\n", 1)[0];
  expect(judged[0].accuracy!).toBeGreaterThan((JSON.parse(usual) as Metrics).accuracy!);

  writeFileSync(join(folder, "task.ts"), example("own-task.md", "ts"));
  const asked = await train(
    "task",
    `tools: {}
data: { train: [{ module: ./task.ts, count: 12 }], heldout: [{ module: ./task.ts, count: 4 }] }
rl: { ${learning}, zeroVariance: keep, reward: { module: ./reward.ts }, validate: { every: 5 } }\n`,
  );
  expect(asked[4]).toHaveProperty("validation/accuracy");
  const trace = readFileSync(join(folder, "runs/task/traces.jsonl"), "utf8").split("\n", 1)[0];
  expect(JSON.parse(trace)).toMatchObject({ question: "Where is the square: left or right?" });
});
