/** Every program of examples/ runs, on a model that is random or as small as ours are. */
import { execFile, spawn, spawnSync } from "node:child_process";
import { once } from "node:events";
import { mkdtempSync, readdirSync, readFileSync, rmSync, statSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join, resolve } from "node:path";
import { createInterface } from "node:readline";
import { promisify } from "node:util";
import sharp from "sharp";
import { afterAll, beforeAll, expect, test } from "vitest";
import { z } from "zod";
import { makeTinyModel } from "./fixtures/tiny.ts";

const root = resolve(import.meta.dirname, "..");
const nano = join(root, "models/nano");
const question = "which digit is on the red star?";
const hasOpenai = spawnSync("python3", ["-c", "import openai"]).status === 0;
let folder: string;
let model: string;

beforeAll(async () => {
  folder = mkdtempSync(join(tmpdir(), "vigorl-examples-"));
  model = join(folder, "model");
  await makeTinyModel(model);
  const create = { width: 448, height: 448, channels: 3, background: "#7a8" } as const;
  writeFileSync(join(folder, "picture.png"), await sharp({ create }).png().toBuffer());
});
afterAll(() => rmSync(folder, { recursive: true, force: true }));

/** Arguments of node that run TypeScript of ours, as `npx tsx` does in the root of a checkout. */
const script = (file: string, ...args: string[]) => [
  "--import",
  `file://${root}/node_modules/tsx/dist/loader.mjs`,
  join(root, file),
  ...args,
];
const env = {
  ...process.env,
  OMP_NUM_THREADS: "1",
  TSX_TSCONFIG_PATH: join(root, "tsconfig.json"),
};

async function run(command: string, args: string[], more: NodeJS.ProcessEnv = {}): Promise<string> {
  const options = { cwd: folder, env: { ...env, ...more } };
  return (await promisify(execFile)(command, args, options)).stdout;
}

test("ask.ts answers and draws where the model looked", async () => {
  const words = await run(
    process.execPath,
    script("examples/ask.ts", "picture.png", question, nano),
  );
  expect(words).toMatch(/^1 {2}[^]*\nlooked at [^]*\nanswer: .+\n$/);
  expect(statSync(join(folder, "looked.png")).size).toBeGreaterThan(100);
});

test.skipIf(!hasOpenai)("ask.py asks our server (needs Python's openai)", async () => {
  const args = script("src/cli.ts", "serve", model, "--port", "0", "--json");
  const server = spawn(process.execPath, args, {
    cwd: folder,
    env,
    stdio: ["ignore", "pipe", "inherit"],
  });
  try {
    const [line] = (await once(createInterface(server.stdout), "line")) as [string];
    const { url } = z.object({ url: z.string() }).parse(JSON.parse(line));
    const words = await run("python3", [join(root, "examples/ask.py"), "picture.png", question], {
      VIGORL_URL: url,
    });
    expect(words.trim()).not.toBe("");
  } finally {
    server.kill("SIGKILL");
  }
});

test("rl-loop.ts learns for two steps and leaves a model folder", async () => {
  const flags = ["--steps", "2", "--questions", "2", "--answers", "4", "--out", "learned"];
  const words = await run(
    process.execPath,
    script("examples/rl-loop.ts", "--model", nano, ...flags),
  );
  expect(words).toMatch(/^step 1: reward [^]*\nstep 2: reward .* learned from \d+\n$/);
  const before = readFileSync(join(nano, "model.safetensors"));
  const after = readFileSync(join(folder, "learned/model.safetensors"));
  expect(after.equals(before)).toBe(false);
  // What was learned is a model that can be asked.
  const asked = script("examples/ask.ts", "picture.png", question, "learned");
  expect(await run(process.execPath, asked)).toContain("answer: ");
});

test("rl-loop.ts says so where nothing can be learned", async () => {
  const flags = ["--steps", "1", "--questions", "1", "--answers", "1", "--out", "nothing"];
  const failed = run(process.execPath, script("examples/rl-loop.ts", "--model", model, ...flags));
  await expect(failed).rejects.toThrow(/nothing was learned/);
});

test("every example is run here", () => {
  // zoom.py by zoom-clients.test.ts
  const tested = ["ask.py", "ask.ts", "rl-loop.ts", "zoom.py"];
  expect(readdirSync(join(root, "examples")).filter((name) => /\.(ts|py)$/.test(name))).toEqual(
    tested,
  );
});
