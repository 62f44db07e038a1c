/**
 * Runs as folders: gone on with by their folder alone, for longer, from elsewhere and after a move;
 * refused where something else has changed; listed; and compared question by question.
 */
import { execFile, spawn } from "node:child_process";
import { once } from "node:events";
import {
  cpSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmSync,
  writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { join, resolve } from "node:path";
import { promisify } from "node:util";
import sharp from "sharp";
import { afterAll, beforeAll, expect, test, vi } from "vitest";
import { makeTinyModel } from "./fixtures/tiny.ts";

vi.setConfig({ testTimeout: 600_000, hookTimeout: 600_000 });

const root = resolve(import.meta.dirname, "..");
const program = [
  "--import",
  `file://${root}/node_modules/tsx/dist/loader.mjs`,
  join(root, "src/cli.ts"),
];
let folder: string;

beforeAll(async () => {
  folder = mkdtempSync(join(tmpdir(), "vigorl-runs-"));
  mkdirSync(join(folder, "project/pictures"), { recursive: true });
  await makeTinyModel(join(folder, "project/model"));
  const colours = ["red", "lime", "blue", "black"];
  for (const background of colours) {
    const create = { width: 112, height: 112, channels: 3, background } as const;
    const file = join(folder, `project/pictures/${background}.png`);
    writeFileSync(file, await sharp({ create }).png().toBuffer());
  }
  const lines = colours.flatMap((colour) =>
    ["What colour?", "Which colour is it?"].map((question) => ({
      image: `pictures/${colour}.png`,
      question,
      answer: colour,
    })),
  );
  writeFileSync(
    join(folder, "project/own.jsonl"),
    lines.map((line) => `${JSON.stringify(line)}\n`).join(""),
  );
  writeFileSync(
    join(folder, "project/own.yaml"),
    `name: own
engine: { model: model, threads: 1, memory: { cacheGiB: 1 } }
tools: {}
prompts: { style: nano }
episode: { maxTokensPerTurn: 8, maxTotalTokens: 16 }
data: { train: [{ file: own.jsonl }], heldout: [{ file: own.jsonl }] }
sft: { from: answers, epochs: 1, batchSize: 4, learningRate: 1.0e-3, schedule: constant, warmupRatio: 0 }
eval: { controls: [], temperature: 0, traces: 1 }
`,
  );
});
afterAll(() => rmSync(folder, { recursive: true, force: true }));

interface Ended {
  readonly code: number;
  readonly stdout: string;
  readonly stderr: string;
}

/** Runs `vigorl` in a folder below the test's. */
async function vigorl(cwd: string, ...args: string[]): Promise<Ended> {
  const command = [...program, ...args, "--quiet"];
  const env = { ...process.env, OMP_NUM_THREADS: "1" };
  const options = { cwd: join(folder, cwd), env };
  return promisify(execFile)(process.execPath, command, options).then(
    ({ stdout, stderr }) => ({ code: 0, stdout, stderr }),
    (error: Ended) => ({ code: error.code, stdout: error.stdout, stderr: error.stderr }),
  );
}

const weights = (run: string, step: number) =>
  readFileSync(join(folder, run, `checkpoints/step-${step}/model.safetensors`));
const manifest = (run: string) =>
  JSON.parse(readFileSync(join(folder, run, "manifest.json"), "utf8")) as {
    command: string;
    recipe: { sft: { epochs: number } };
  };

test("a run goes on for longer by its folder alone, to the bytes of one that was asked for at once", async () => {
  const straight = await vigorl("project", "sft", "own.yaml", "--name=straight", "--sft.epochs=2");
  expect(straight).toMatchObject({
    code: 0,
    stdout: expect.stringContaining("8 thought") as string,
  });
  expect((await vigorl("project", "sft", "own.yaml")).code).toBe(0);
  expect(manifest("project/runs/own").command).toContain("sft own.yaml");
  // From another folder than it was started in.
  const longer = await vigorl(".", "resume", "project/runs/own", "--sft.epochs=2");
  expect(longer).toMatchObject({ code: 0, stdout: expect.stringContaining("4 steps") as string });
  expect(weights("project/runs/own", 4).equals(weights("project/runs/straight", 4))).toBe(true);
  expect(manifest("project/runs/own").recipe.sft.epochs).toBe(2);
  expect(readFileSync(join(folder, "project/runs/own/curves.svg"), "utf8")).toContain("4 steps");
});

test("keys that may not change are named, all of them", async () => {
  const changed = ["--sft.batchSize=2", "--sft.learningRate=0.01"];
  const refused = await vigorl("project", "resume", "runs/own", ...changed);
  expect(refused.code).toBe(2);
  expect(refused.stderr).toMatch(
    /sft\.batchSize was 4, is 2\n.*sft\.learningRate was 0\.001, is 0\.01/,
  );
  expect((await vigorl("project", "resume", "runs")).stderr).toContain("holds no run");
});

test("changed data is refused unless it is said to be meant", async () => {
  cpSync(join(folder, "project"), join(folder, "copy"), { recursive: true });
  const file = join(folder, "copy/own.jsonl");
  writeFileSync(file, readFileSync(file, "utf8").replace('"answer":"lime"', '"answer":"green"'));
  // The project was copied as a whole: recipe, data and runs lie as they did.
  renameSync(join(folder, "project"), join(folder, "elsewhere"));
  const refused = await vigorl("copy", "resume", "runs/own", "--sft.epochs=3");
  expect(refused).toMatchObject({
    code: 2,
    stderr: expect.stringContaining("own.jsonl was changed") as string,
  });
  const meant = await vigorl("copy", "resume", "runs/own", "--sft.epochs=3", "--changed-inputs");
  expect(meant).toMatchObject({ code: 0, stdout: expect.stringContaining("6 steps") as string });
  renameSync(join(folder, "elsewhere"), join(folder, "project"));
});

test("a moved run is a model, and its manifest a recipe", async () => {
  renameSync(join(folder, "project/runs/straight"), join(folder, "moved"));
  const args = ["--model", "../moved", "--name=first"];
  const first = await vigorl("project", "eval", "../moved/manifest.json", ...args);
  expect(first.code).toBe(0);
  const report = JSON.parse(
    readFileSync(join(folder, "project/runs/first/report.json"), "utf8"),
  ) as { curves: { metric: string }[] };
  expect(report.curves.map(({ metric }) => metric)).toEqual(["loss"]);
  const { stdout } = await vigorl("project", "runs");
  expect(stdout).toMatch(
    /first +eval done · accuracy [\d.]+ · prompt tokens \d+ · generated tokens/,
  );
  expect((await vigorl("project", "eval", "own.yaml", "--name=second")).code).toBe(0);
});

test("only the run has moved: it goes on on the data where they were", async () => {
  expect((await vigorl("project", "sft", "own.yaml", "--name=away")).code).toBe(0);
  renameSync(join(folder, "project/runs/away"), join(folder, "away"));
  const longer = await vigorl(".", "resume", "away", "--sft.epochs=2");
  expect(longer).toMatchObject({ code: 0, stdout: expect.stringContaining("4 steps") as string });
  expect(weights("away", 4).equals(weights("moved", 4))).toBe(true);
});

test("a run is a model in every verb, and in a recipe", async () => {
  const best = "runs/own/checkpoints/step-4";
  writeFileSync(
    join(folder, "project/on.yaml"),
    readFileSync(join(folder, "project/own.yaml"), "utf8")
      .replace("name: own", "name: on")
      .replace("model: model", "model: runs/own"),
  );
  for (const verb of ["search", "sft", "rl", "eval", "demo"]) {
    const args = [verb, "own.yaml", "--model", "runs/own", "--name=dry", "--dry-run", "--json"];
    const { stdout, stderr } = await vigorl("project", ...args);
    expect(stderr).toBe("");
    const { engine } = JSON.parse(stdout) as { engine: { model: string } };
    expect(engine.model).toMatch(new RegExp(`${best}$`));
  }
  expect((await vigorl("project", "eval", "on.yaml", "--name=third")).code).toBe(0);
  const { recipe } = manifest("project/runs/third") as { recipe: { engine?: { model: string } } };
  expect(recipe.engine!.model).toMatch(new RegExp(`${best}$`));
  const asked = await vigorl(
    "project",
    "ask",
    "pictures/red.png",
    "What colour?",
    "--model",
    "runs/own",
    "--json",
  );
  expect(JSON.parse(asked.stdout)).toMatchObject({ model: expect.stringMatching(best) as string });
  const teacher = [
    "--search.teacher={ kind: local, model: runs/own }",
    "--name=dry",
    "--dry-run",
    "--json",
  ];
  const taught = JSON.parse((await vigorl("project", "search", "own.yaml", ...teacher)).stdout) as {
    recipe: { search: { teacher: { model: string } } };
  };
  expect(taught.recipe.search.teacher.model).toMatch(new RegExp(`${best}$`));
  const nowhere = await vigorl("project", "eval", "own.yaml", "--model", "runs/first", "--name=x");
  expect(nowhere).toMatchObject({
    code: 2,
    stderr: expect.stringContaining("this run has no weights yet") as string,
  });
});

test("a search goes on by its folder alone, with what its flags said", async () => {
  writeFileSync(
    join(folder, "trees.yaml"),
    `name: trees
engine: { model: models/nano, threads: 1, memory: { cacheGiB: 1 } }
tools: { zoom: { windowPx: 8, outputPx: 112 } }
episode: { maxTurns: 3, maxToolImages: 2, maxTokensPerTurn: 64, maxTotalTokens: 256 }
prompts: { style: nano }
data: { train: [{ nano: search, count: 2 }], heldout: [{ nano: search, count: 8 }] }
search: { simulations: 2, maxDepth: 3, rolloutSteps: 3 }
`,
  );
  const records = (count: number) => `--search.run.records=${count}`;
  const straight = ["search", "trees.yaml", "--split", "heldout", "--compare"];
  expect((await vigorl(".", ...straight, records(4), "--name=whole")).code).toBe(0);
  expect((await vigorl(".", ...straight, records(2))).code).toBe(0);
  const longer = await vigorl(".", "resume", "runs/trees", records(4));
  expect(longer).toMatchObject({ code: 0, stdout: expect.stringContaining("of 4 ") as string });
  const trees = (run: string) =>
    readFileSync(join(folder, run, "trees.jsonl"), "utf8").replaceAll(/"seconds":[\d.e-]+/g, "");
  expect(trees("runs/trees")).toBe(trees("runs/whole"));
  const compared = readFileSync(join(folder, "runs/trees/compare.json"), "utf8");
  expect(compared).toBe(readFileSync(join(folder, "runs/whole/compare.json"), "utf8"));
  expect((await vigorl(".", "resume", "runs/trees", "--search.run.split=train")).stderr).toContain(
    'search.run.split was "heldout", is "train"',
  );
});

test("base training that was killed goes on by its folder alone", async () => {
  writeFileSync(
    join(folder, "base.yaml"),
    `name: base
drawers: 1
saveEvery: 1
logEvery: 1
evalSights: 2
tower: { steps: 4, batchSize: 2 }
lookups: { steps: 2, batchSize: 2, poolSize: 8 }
chats: { steps: 1, batchSize: 2 }
lookalikes: { steps: 0 }
habits: { steps: 0 }
looks: { steps: 0 }
verdicts: { steps: 0 }
`,
  );
  expect((await vigorl(".", "base", "base.yaml")).code).toBe(0);
  const cut = spawn(process.execPath, [...program, "base", "base.yaml", "--out", "cut"], {
    cwd: folder,
    env: { ...process.env, OMP_NUM_THREADS: "1" },
    stdio: "ignore",
  });
  const ended = once(cut, "exit");
  const checkpoints = join(folder, "cut/base/checkpoints");
  await vi.waitUntil(
    () =>
      existsSync(checkpoints) && readdirSync(checkpoints).some((name) => /^step-\d+$/.test(name)),
    120_000,
  );
  cut.kill("SIGKILL");
  await ended;
  expect(existsSync(join(folder, "cut/base/model"))).toBe(false);
  const refused = await vigorl(".", "resume", "cut/base", "--tower.steps=6");
  expect(refused.stderr).toContain("tower.steps was 4, is 6");
  expect((await vigorl(".", "resume", "cut/base")).code).toBe(0);
  const model = (run: string) => readFileSync(join(folder, run, "model/model.safetensors"));
  expect(model("cut/base").equals(model("runs/base"))).toBe(true);
});

test("runs are listed and compared", async () => {
  const { stdout } = await vigorl("project", "runs", "--json");
  const { runs } = JSON.parse(stdout) as { runs: { run: string; verb: string; state: string }[] };
  expect(runs.map(({ run, verb, state }) => `${run} ${verb} ${state}`).sort()).toEqual([
    "runs/first eval done",
    "runs/own sft done",
    "runs/second eval done",
    "runs/third eval done",
  ]);
  expect((await vigorl(".", "runs", "nowhere")).code).toBe(2);
  const compared = await vigorl("project", "compare", "runs/first", "runs/second");
  expect(compared.stdout).toMatch(/own +8 /);
  expect((await vigorl("project", "compare", "runs/first", "runs/own")).code).toBe(2);
  writeFileSync(
    join(folder, "project/other.jsonl"),
    readFileSync(join(folder, "project/own.jsonl"), "utf8").replace("What colour?", "Colour?"),
  );
  const other = ["--data.heldout=[{ file: other.jsonl, task: own }]", "--name=fourth"];
  expect((await vigorl("project", "eval", "own.yaml", ...other)).code).toBe(0);
  const refused = await vigorl("project", "compare", "runs/first", "runs/fourth");
  expect(refused.code).toBe(2);
});
