/**
 * 300 questions to our own server, `vigorl eval` killed with -9 twice and resumed: each is answered exactly
 * once, and what is left are the bytes of an undisturbed run. `bench/eval-size.ts` does it with 30,000.
 */
import { spawn } from "node:child_process";
import { once } from "node:events";
import { existsSync, mkdtempSync, readFileSync, rmSync, statSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join, resolve } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { afterAll, beforeAll, expect, test } from "vitest";
import { engineSchema, openSampler } from "../src/engine/open.ts";
import type { Sampler } from "../src/engine/types.ts";
import { encodePng } from "../src/image/decode.ts";
import { createApp } from "../src/serve/app.ts";
import { startServer } from "../src/serve/server.ts";
import { gradientImage } from "../src/task/fixtures/scene.ts";
import { makeTinyModel, tinyEpisode } from "./fixtures/tiny.ts";

const root = resolve(import.meta.dirname, "..");
const loader = `file://${root}/node_modules/tsx/dist/loader.mjs`;
const numQuestions = 300;

let folder: string;
let sampler: Sampler;
let server: Awaited<ReturnType<typeof startServer>>;

beforeAll(async () => {
  folder = mkdtempSync(join(tmpdir(), "vigorl-eval-size-"));
  const model = join(folder, "model");
  await makeTinyModel(model);
  const needs = { purpose: "eval", capabilities: ["images"] as const };
  const engine = engineSchema.parse({ model, threads: 1, slots: 8 });
  sampler = await openSampler(engine, needs, { processorFolder: model });
  const format = await tinyEpisode(model, false);
  server = await startServer(createApp({ sampler, format, model: "tiny" }), {
    host: "127.0.0.1",
    port: 0,
  });
  writeFileSync(join(folder, "grey.png"), await encodePng(gradientImage(112, 112)));
  const lines = Array.from({ length: numQuestions }, (_, i) =>
    JSON.stringify({
      id: `q${i}`,
      image: "grey.png",
      question: `which digit is on the red star ${"?".repeat(1 + (i % 9))}`,
      answer: String(i % 10),
      kind: "number",
    }),
  );
  writeFileSync(join(folder, "questions.jsonl"), `${lines.join("\n")}\n`);
  writeFileSync(
    join(folder, "size.yaml"),
    `tools: {}
prompts: { style: nano }
episode: { maxTokensPerTurn: 4 }
engine: { kind: openai, url: ${server.url}, folder: ${model}, concurrency: 8 }
data: { heldout: [{ file: questions.jsonl, task: size }] }
eval: { concurrency: 8, traces: 4, temperature: 1 }
`,
  );
});
afterAll(async () => {
  await server?.close();
  await sampler?.close();
  rmSync(folder, { recursive: true, force: true });
});

const outcomesOf = (name: string) => join(folder, "runs", name, "eval/size/model/outcomes.jsonl");

/** Runs `vigorl eval` to its end, or until so many bytes of outcomes are written; null: it was killed. */
async function evaluate(name: string, killAtBytes = Infinity): Promise<number | null> {
  const resumed = existsSync(join(folder, "runs", name)) ? ["--resume"] : [];
  const args = ["eval", "size.yaml", "--name", name, "--quiet", ...resumed];
  const child = spawn(process.execPath, ["--import", loader, join(root, "src/cli.ts"), ...args], {
    cwd: folder,
    stdio: ["ignore", "ignore", "inherit"],
    env: { ...process.env, OMP_NUM_THREADS: "1" },
  });
  const end = once(child, "exit") as Promise<[number | null]>;
  while (child.exitCode === null && child.signalCode === null) {
    const size = statSync(outcomesOf(name), { throwIfNoEntry: false })?.size ?? 0;
    if (size >= killAtBytes) child.kill("SIGKILL");
    await sleep(5);
  }
  const [code] = await end;
  return code;
}

test(
  "killed twice, resumed: each question once, and the same bytes",
  { timeout: 600_000 },
  async () => {
    expect(await evaluate("straight")).toBe(0);
    const expected = readFileSync(outcomesOf("straight"), "utf8");
    for (const share of [0.2, 0.6])
      expect(await evaluate("killed", share * Buffer.byteLength(expected))).toBe(null);
    const kept = readFileSync(outcomesOf("killed"), "utf8").split("\n").length - 1;
    expect(kept).toBeGreaterThan(0.3 * numQuestions);
    expect(kept).toBeLessThan(numQuestions);
    expect(await evaluate("killed")).toBe(0);
    const found = readFileSync(outcomesOf("killed"), "utf8");
    const ids = found
      .trimEnd()
      .split("\n")
      .map((line) => (JSON.parse(line) as { recordId: string }).recordId);
    expect(ids).toEqual(Array.from({ length: numQuestions }, (_, i) => `q${i}`));
    expect(found).toBe(expected);
  },
);
