/**
 * What every benchmark needs of its Python peer: a virtual environment with exactly the versions of
 * `peers/requirements.txt` (made once per user), a process in it that answers line by line, and the
 * facts of this machine.
 */
import { spawn, spawnSync, type ChildProcess } from "node:child_process";
import { createHash } from "node:crypto";
import { existsSync, mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { cpus, homedir, totalmem } from "node:os";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { fileURLToPath } from "node:url";
import { parseArgs } from "node:util";
import { z } from "zod";
import { VigorlError } from "../src/core/errors.ts";
import { resolveDevice, torchFacts } from "../src/torch/device.ts";

const peersFolder = fileURLToPath(new URL("peers/", import.meta.url));
const requirements = join(peersFolder, "requirements.txt");

/** The flags that benchmarks share; each has its own number of rounds, and most run on the CPU alone. */
export function benchOptions(defaultRounds: number, { devices = false } = {}) {
  const { values } = parseArgs({
    options: {
      json: { type: "boolean", default: false },
      rounds: { type: "string", default: String(defaultRounds) },
      threads: { type: "string", default: String(cpus().length) },
      model: { type: "string", default: "models/nano" },
      device: { type: "string", default: "cpu" },
      dtype: { type: "string", default: "float32" },
    },
  });
  if (!devices && (values.device !== "cpu" || values.dtype !== "float32"))
    throw new VigorlError("usage", "this benchmark knows --device cpu and --dtype float32 alone");
  return {
    values,
    rounds: Number(values.rounds),
    threads: Number(values.threads),
    device: resolveDevice(values.device),
    dtype: z.enum(["float32", "bfloat16"]).parse(values.dtype),
  };
}

/** A peer's first line. */
export const readySchema = z.object({
  ready: z.literal(true),
  versions: z.record(z.string(), z.string()),
});

/**
 * Path of the peers' Python interpreter: VIGORL_BENCH_PYTHON, which has to have what they import (a GPU
 * user's own), or an environment of ours, made where it is missing or outdated.
 */
export function peerPython(): string {
  const own = process.env.VIGORL_BENCH_PYTHON;
  if (own !== undefined) return own;
  const cache = process.env.XDG_CACHE_HOME ?? join(homedir(), ".cache");
  const folder = join(cache, "vigorl", "peers");
  const python = join(folder, "bin", "python");
  const record = join(folder, "requirements.sha256");
  const wanted = createHash("sha256").update(readFileSync(requirements)).digest("hex");
  if (existsSync(record) && existsSync(python) && readFileSync(record, "utf8") === wanted)
    return python;
  process.stderr.write(`bench: installing the Python peers into ${folder}\n`);
  mkdirSync(folder, { recursive: true });
  if (!existsSync(python)) execute("python3", ["-m", "venv", folder]);
  const pip = ["-m", "pip", "install", "--quiet", "--disable-pip-version-check"];
  execute(python, [...pip, "-r", requirements]);
  writeFileSync(record, wanted);
  return python;
}

/** A peer script that prints one JSON object a line, the first when it is ready. */
export class Peer {
  private readonly child: ChildProcess;
  private readonly lines: AsyncIterator<string>;

  constructor(script: string, args: readonly string[], env: Readonly<Record<string, string>> = {}) {
    this.child = spawn(peerPython(), [join(peersFolder, script), ...args], {
      stdio: ["pipe", "pipe", "inherit"],
      env: { ...process.env, ...env },
    });
    this.lines = createInterface({ input: this.child.stdout! })[Symbol.asyncIterator]();
  }

  /** Sends a line, where there is one to send, and waits for the next object. */
  async ask(request?: unknown): Promise<unknown> {
    if (request !== undefined) this.child.stdin!.write(`${JSON.stringify(request)}\n`);
    const { value, done } = await this.lines.next();
    if (done === true) throw new VigorlError("missing", "the Python peer ended early (see above)");
    return JSON.parse(value);
  }

  close(): void {
    this.child.stdin!.end();
  }
}

/** What the numbers were measured at: VIGORL_COMMIT where there is no repository. */
export function commit(): string {
  const { stdout } = spawnSync("git", ["rev-parse", "--short", "HEAD"], { encoding: "utf8" });
  return process.env.VIGORL_COMMIT ?? (stdout?.trim() || "unknown");
}

/** What the numbers were measured on. */
export function machine(): Record<string, unknown> {
  const { version, threads, blas } = torchFacts();
  return {
    cpu: cpus()[0]?.model.trim(),
    cores: cpus().length,
    memoryGb: Math.round(totalmem() / 2 ** 30),
    node: process.version,
    libtorch: version,
    blas,
    threads,
    ...gpu(),
  };
}

/** What the driver calls the GPU, where there is one. */
function gpu(): { gpu?: string } {
  const query = ["--query-gpu=name,driver_version", "--format=csv,noheader"];
  const { stdout } = spawnSync("nvidia-smi", query, { encoding: "utf8" });
  return stdout ? { gpu: stdout.trim() } : {};
}

/** Prints the line that every benchmark ends with. */
export function printResult(result: {
  readonly name: string;
  readonly ratios: Readonly<Record<string, number>>;
  readonly ours: unknown;
  readonly peer: unknown;
}): void {
  const rounded = Object.fromEntries(
    Object.entries(result.ratios).map(([name, ratio]) => [name, Number(ratio.toFixed(3))]),
  );
  console.log(JSON.stringify({ ...result, ratios: rounded, machine: machine() }));
}

/** The middle value, or the mean of the two in the middle. */
export function median(values: readonly number[]): number {
  const sorted = [...values].sort((a, b) => a - b);
  const middle = sorted.length >> 1;
  return sorted.length % 2 === 1 ? sorted[middle] : (sorted[middle - 1] + sorted[middle]) / 2;
}

function execute(command: string, args: readonly string[]): void {
  const { status } = spawnSync(command, args, { stdio: ["ignore", 2, 2] });
  if (status !== 0)
    throw new VigorlError("missing", `${command} ${args.join(" ")} failed (see above)`, {
      hint: "the benchmark's peers need python3 with venv and a package index that pip can reach",
    });
}
