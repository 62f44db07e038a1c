/** The kernels that a GPU runs, run on a CPU: their source under an emulation of threads and barriers. */
import { spawnSync } from "node:child_process";
import { mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, expect, test } from "vitest";

const root = join(import.meta.dirname, "..");
const fixtures = join(import.meta.dirname, "fixtures/cuda");
let work: string;

beforeAll(async () => {
  work = await mkdtemp(join(tmpdir(), "vigorl-cuda-"));
});

afterAll(() => rm(work, { recursive: true, force: true }));

test("kernels compute what they are to, in whichever order their threads run", async () => {
  const source = await readFile(join(root, "native/cuda.cpp"), "utf8");
  const [, kernels] = /R"cuda\(([^]*)\)cuda"/.exec(source)!;
  await writeFile(join(work, "kernels.inc"), kernels);
  const program = join(work, "check");
  const flags = ["-std=c++20", "-O1", "-w", `-I${work}`, "-o", program];
  const compiled = spawnSync("g++", [...flags, join(fixtures, "check.cpp")], { encoding: "utf8" });
  expect(compiled.stderr).toBe("");
  const { stdout, status } = spawnSync(program, [], { encoding: "utf8" });
  expect(stdout).toBe("0 failures\n");
  expect(status).toBe(0);
});
