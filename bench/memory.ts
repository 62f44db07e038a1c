/**
 * Peaks of memory against what was said before the start: random weights of two sizes, sampled with and
 * learned from in every way that takes memory of its own, each in a fresh process, beside the estimate that
 * `--dry-run` and every start print. The most that a process held is the system's count of its pages.
 *
 * With --out rows that stand there already, of the same commit, are kept beside those that are measured.
 *
 *   npm run bench -- memory [--json] [--threads 2] [--sizes small,medium] [--ways sampling,…]
 *     [--out docs/results]
 */
import { spawnSync } from "node:child_process";
import { copyFile, mkdtemp, rm } from "node:fs/promises";
import { cpus, tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { parseArgs } from "node:util";
import { z } from "zod";
import { VigorlError } from "../src/core/errors.ts";
import type { LocalEngine } from "../src/engine/local/client.ts";
import { localSchema } from "../src/engine/local/config.ts";
import { localKind } from "../src/engine/local/kind.ts";
import { readModelConfig } from "../src/model/folder.ts";
import { qwen2_5_vl } from "../src/model/families/qwen2_5_vl.ts";
import { readPreprocessor } from "../src/model/profile.ts";
import { writeRandomModel } from "./gpu/model.ts";
import { parameterCounts } from "./gpu/sizes.ts";
import { rowsAt, writeMemoryReport, type MemoryReport, type MemoryRow } from "./memory/report.ts";
import {
  numPositions,
  numSlots,
  perMicroBatch,
  sizes,
  ways,
  type Way,
  type WayName,
} from "./memory/ways.ts";
import { runWay } from "./memory/work.ts";
import { commit, machine } from "./peers.ts";

const { values } = parseArgs({
  options: {
    json: { type: "boolean", default: false },
    threads: { type: "string", default: String(cpus().length) },
    sizes: { type: "string", default: Object.keys(sizes).join(",") },
    ways: { type: "string", default: Object.keys(ways).join(",") },
    out: { type: "string" },
    child: { type: "string" },
  },
});
const names = Object.keys(ways) as [WayName, ...WayName[]];
const childSchema = z.object({ folder: z.string(), way: z.enum(names) });
const answerSchema = z.object({
  shares: z.array(z.object({ what: z.string(), bytes: z.number() })),
  peakBytes: z.number(),
});

if (values.child === undefined) await benchmark();
else await child(childSchema.parse(JSON.parse(values.child)));

async function benchmark(): Promise<void> {
  const asked = listed(values.sizes, sizes).flatMap((size) =>
    listed(values.ways, ways).map((way) => `${size} ${way}`),
  );
  const before = values.out === undefined ? [] : rowsAt(values.out, commit());
  const kept = before.filter(({ size, way }) => !asked.includes(`${size} ${way}`));
  const rows: MemoryRow[] = [...kept];
  const report = (): MemoryReport => ({
    command: "npm run bench -- memory",
    date: new Date().toISOString().slice(0, 10),
    commit: commit(),
    machine: machine(),
    rows,
  });
  for (const size of listed(values.sizes, sizes)) {
    const work = await mkdtemp(join(tmpdir(), "vigorl-memory-"));
    try {
      const folder = join(work, "model");
      const config = await writeRandomModel(folder, sizes[size], "cpu");
      for (const file of ["tokenizer.json", "tokenizer_config.json"])
        await copyFile(join("models", "nano", file), join(folder, file));
      for (const way of listed(values.ways, ways)) {
        const { shares, peakBytes } = inProcess(folder, way);
        const estimateBytes = shares.reduce((sum, { bytes }) => sum + bytes, 0);
        const numbers = parameterCounts(config).all;
        rows.push({ size, numbers, way, shares, estimateBytes, peakBytes });
        if (!values.json) console.log(told(rows.at(-1)!));
        if (values.out !== undefined) await writeMemoryReport(values.out, report());
      }
    } finally {
      await rm(work, { recursive: true, force: true });
    }
  }
  const far = rows.map(({ estimateBytes, peakBytes }) => Math.abs(peakBytes / estimateBytes - 1));
  const { rows: all, machine: on } = report();
  console.log(JSON.stringify({ name: "memory", worst: Math.max(...far), rows: all, machine: on }));
  process.exitCode = Math.max(...far) > 0.1 ? 1 : 0;
}

function listed<T extends string>(names: string, known: Readonly<Record<T, unknown>>): T[] {
  return names.split(",").map((name) => {
    if (Object.hasOwn(known, name)) return name as T;
    throw new VigorlError("usage", `${name}: not one of ${Object.keys(known).join(", ")}`);
  });
}

function told({ size, way, estimateBytes, peakBytes }: MemoryRow): string {
  const [said, held] = [estimateBytes, peakBytes].map((bytes) => Math.round(bytes / 1e6));
  return `${size} ${way}: ${said} MB estimated, ${held} MB at the peak (${(held / said).toFixed(3)})`;
}

function inProcess(folder: string, way: WayName): z.infer<typeof answerSchema> {
  const own = fileURLToPath(import.meta.url);
  const args = [`--child=${JSON.stringify({ folder, way })}`, `--threads=${values.threads}`];
  const tsx = fileURLToPath(import.meta.resolve("tsx"));
  const { status, stdout } = spawnSync(process.execPath, ["--import", tsx, own, ...args], {
    stdio: ["ignore", "pipe", "inherit"],
    encoding: "utf8",
  });
  if (status !== 0) throw new VigorlError("missing", `${way} failed (see above)`);
  return answerSchema.parse(JSON.parse(stdout));
}

async function child({ folder, way: name }: z.infer<typeof childSchema>): Promise<void> {
  const way: Way = ways[name];
  const learning = way.learning ?? undefined;
  const section = localSchema.parse({
    kind: "local",
    model: folder,
    device: "cpu",
    threads: Number(values.threads),
    dtype: way.dtype,
    gradientCheckpointing: way.gradientCheckpointing ?? false,
    slots: numSlots,
    maxPositions: numPositions,
    tokensPerMicroBatch: perMicroBatch * numPositions,
    memory: { imagesGiB: 0.001 },
  });
  const lora = learning?.lora && { ...learning.lora, seed: 1 };
  const how = { trainable: learning?.trainable, lora, learning };
  const resolved = await localKind.resolve(section, how);
  const { shares } = await localKind.memory!(resolved, learning);
  const engine = await localKind.open(resolved, { ...how, processorFolder: folder });
  const config = await readModelConfig(folder);
  await runWay(engine as LocalEngine, config, await readPreprocessor(folder, qwen2_5_vl), way);
  const peakBytes = process.resourceUsage().maxRSS * 1024;
  await engine.close();
  console.log(JSON.stringify({ shares, peakBytes }));
}
