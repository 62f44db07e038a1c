/**
 * Runs in which nothing can be learned end with code 2 within ten steps, as the defaults are, and say what
 * was asked, what was replied, and what is likely behind it.
 */
import { execFile } from "node:child_process";
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join, resolve } from "node:path";
import { promisify } from "node:util";
import { afterAll, beforeAll, expect, test, vi } from "vitest";
import { makeTinyModel } from "./fixtures/tiny.ts";

vi.setConfig({ testTimeout: 300_000 });

const root = resolve(import.meta.dirname, "..");
let folder: string;
beforeAll(async () => {
  folder = mkdtempSync(join(tmpdir(), "vigorl-nothing-"));
  await makeTinyModel(join(folder, "random"));
  writeFileSync(join(folder, "same.mjs"), "export default () => 1;\n");
  writeFileSync(join(folder, "never.mjs"), "export default () => 0;\n");
  writeFileSync(
    join(folder, "right.mjs"),
    "export default (_, __, usual) => ({ right: usual.accuracy });\n",
  );
});
afterAll(() => rmSync(folder, { recursive: true, force: true }));

const cases = {
  "replies in no form": { model: "random", lines: "", cause: /most (replies|episodes) are/ },
  "rewards that are all equal": {
    model: join(root, "models/nano"),
    lines: "rl: { promptsPerStep: 2, groupSize: 4, reward: { module: same.mjs } }",
    cause: /no reply of a group is better than another|most answers are right already/,
  },
  "answers that are all wrong": {
    model: join(root, "models/nano"),
    lines: `rl: { promptsPerStep: 2, groupSize: 4, reward: { module: right.mjs } }
judge: { module: never.mjs }`,
    cause: /no answer is right/,
  },
};

test.each(Object.entries(cases))("%s", async (name, { model, lines, cause }) => {
  const recipe = name.replaceAll(" ", "-");
  writeFileSync(
    join(folder, `${recipe}.yaml`),
    `name: ${recipe}
engine: { model: ${model}, threads: 1, memory: { cacheGiB: 1 } }
tools: { zoom: { windowPx: 8, outputPx: 112 } }
episode: { maxTurns: 3, maxToolImages: 2, maxTokensPerTurn: 64, maxTotalTokens: 256 }
prompts: { style: nano }
data: { train: [{ nano: search, count: 64 }] }
${lines === "" ? "rl: { promptsPerStep: 2, groupSize: 4 }" : lines}
`,
  );
  const loader = `file://${root}/node_modules/tsx/dist/loader.mjs`;
  const args = ["--import", loader, join(root, "src/cli.ts"), "rl", `${recipe}.yaml`, "--quiet"];
  const ended = await promisify(execFile)(process.execPath, args, {
    cwd: folder,
    env: { ...process.env, OMP_NUM_THREADS: "1" },
  }).then(
    () => ({ code: 0, stderr: "" }),
    (error: { code: number; stderr: string }) => error,
  );
  expect(ended.code).toBe(2);
  expect(ended.stderr).toContain("rl: step 10: nothing to learn from for 10 steps in a row");
  expect(ended.stderr).toMatch(
    /\n {2}asked: "[^"]+\?" \(.+\)\n( {2}reply: .+ \(\w+, reward .+\)\n){1,3} {2}fix: /,
  );
  expect(ended.stderr).toMatch(cause);
  const rows = readFileSync(join(folder, "runs", recipe, "metrics.jsonl"), "utf8").trim();
  expect(rows.split("\n")).toHaveLength(9);
});
