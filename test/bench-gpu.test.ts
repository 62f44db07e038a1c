/** `bench -- gpu` runs whole on a small model: what a card would run is run here first. */
import { spawnSync } from "node:child_process";
import { mkdtemp, readFile, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, expect, test } from "vitest";
import { page, type Report } from "../bench/gpu/report.ts";

let out: string;

beforeAll(async () => {
  out = await mkdtemp(join(tmpdir(), "vigorl-bench-gpu-"));
});

afterAll(() => rm(out, { recursive: true, force: true }));

function run(...flags: string[]) {
  const loader = ["--import", "./node_modules/tsx/dist/loader.mjs", "bench/gpu.ts"];
  const cwd = join(import.meta.dirname, "..");
  return spawnSync(process.execPath, [...loader, ...flags], { cwd, encoding: "utf8" });
}

test(
  "every row that this version can run is measured and written",
  { timeout: 600_000 },
  async () => {
    const { status, stderr } = run("--small", "--device=cpu", "--no-peer", `--out=${out}`);
    expect(stderr).toBe("");
    expect(status).toBe(0);
    const report = JSON.parse(await readFile(join(out, "gpu.json"), "utf8")) as Report;
    const names = report.rows.map(({ name }) => name);
    expect(names).toEqual(
      expect.arrayContaining(["copy", "matmul", "decode-1", "sft-full", "grpo-zoom"]),
    );
    for (const { status: state, ours, why } of report.rows) {
      if (state !== "measured") {
        expect(why).toMatch(/\w/);
        continue;
      }
      for (const value of Object.values(ours!)) expect(value).toBeGreaterThan(0);
    }
    expect(report.rows.some(({ status: state }) => state === "failed")).toBe(false);
    const written = await readFile(join(out, "gpu.md"), "utf8");
    expect(written).toBe(page(report));
  },
);

test("full sizes without a GPU are refused, with the way out", () => {
  const { status, stderr } = run("--device=cpu", `--out=${out}`);
  expect(status).not.toBe(0);
  expect(stderr).toContain("--small");
});
