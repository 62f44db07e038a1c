/**
 * An evaluation at size: `npm run build`, then
 * `node --import tsx bench/eval-size.ts [questions] [kills] [small] [seed]`.
 * Our server answers over the nano model; the command line asks it `questions` (30,000) short questions
 * about pictures on disk, once undisturbed and once killed `kills` times with SIGKILL at seeded moments
 * and resumed. Prints whether every question was answered exactly once and both runs left the same
 * outcomes, how long they took, and the peak of memory beside that of as many runs with `small` (300)
 * questions. Ends with 1 where the outcomes differ or memory grows beyond 1.2 times.
 */
import { spawn, type ChildProcess } from "node:child_process";
import { once } from "node:events";
import { mkdtempSync, readFileSync, rmSync, statSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join, resolve } from "node:path";
import { createInterface } from "node:readline";
import { writeDataset } from "../src/data/write.ts";
import { stream } from "../src/core/random.ts";
import { resize } from "../src/image/resize.ts";
import { nanoRecords } from "../src/nano/tasks.ts";
import type { TaskRecord } from "../src/task/record.ts";

const root = resolve(import.meta.dirname, "..");
const program = join(root, "dist/cli.js");
const model = join(root, "models/nano");
const [questions = "30000", kills = "3", small = "300", seed = "1"] = process.argv.slice(2);
const numPictures = 60;
const viewSize = { widthPx: 112, heightPx: 112 };
const maxGrowth = 1.2;

const folder = mkdtempSync(join(tmpdir(), "vigorl-size-"));
const children = new Set<ChildProcess>();

function say(line: string): void {
  process.stdout.write(`${line}\n`);
}

function start(args: readonly string[]): ChildProcess {
  const child = spawn(process.execPath, [program, ...args], {
    cwd: folder,
    detached: true,
    stdio: ["ignore", "pipe", "pipe"],
    env: { ...process.env, OMP_NUM_THREADS: "1", OMP_WAIT_POLICY: "PASSIVE" },
  });
  children.add(child);
  child.on("exit", () => children.delete(child));
  return child;
}

/** Kills a process and all that it started. */
function kill(child: ChildProcess): void {
  if (child.pid !== undefined && child.exitCode === null) process.kill(-child.pid, "SIGKILL");
}

/** Questions about a few pictures, each with an id and a wording of its own. */
async function writeQuestions(): Promise<void> {
  const file = join(folder, "pictures.jsonl");
  const records = nanoRecords({ task: "search", split: "heldout", count: numPictures, seed: 1 });
  await writeDataset(file, records.map(asSeen), { images: "copy" });
  const lines = readFileSync(file, "utf8").trimEnd().split("\n");
  const asked = lines.map((line) => JSON.parse(line) as { id: string; question: string });
  for (const [name, count] of [
    ["large", questions],
    ["few", small],
  ] as const) {
    const rows = Array.from({ length: Number(count) }, (_, i) => {
      const about = asked[i % asked.length];
      const { question } = asked[(i * 7 + Math.floor(i / asked.length)) % asked.length];
      return JSON.stringify({ ...about, id: `q${i}`, question });
    });
    writeFileSync(join(folder, `${name}.jsonl`), `${rows.join("\n")}\n`);
  }
  writeFileSync(
    join(folder, "size.yaml"),
    `tools: {}
episode: { maxTokensPerTurn: 2 }
prompts: { style: nano }
promptsNoTool: { questionSuffix: Answer at once. }
engine: { kind: openai, folder: ${JSON.stringify(model)}, concurrency: 32 }
eval: { concurrency: 32, traces: 8, controls: [] }
`,
  );
}

/** A record whose picture is as large as the model sees it, so that reading it costs little. */
function asSeen(record: TaskRecord): TaskRecord {
  const images = record.images.map((image) => {
    if (image.kind !== "render") throw new Error("nano questions draw their pictures");
    const render = async () => resize(await image.render(), viewSize, "bicubic");
    return { ...image, render };
  });
  return { ...record, images };
}

interface Attempt {
  readonly code: number | null;
  readonly peakBytes: number;
  readonly stderr: string;
}

/** Evaluates under a name; killed once its outcomes have grown to so many bytes. */
async function evaluate(
  url: string,
  name: string,
  file: string,
  killAtBytes = Infinity,
): Promise<Attempt> {
  const held = `--data.heldout=[{ file: ${join(folder, file)}, task: size }]`;
  const args = ["eval", "size.yaml", "--url", url, "--name", name, held, "--resume", "--quiet"];
  const isThere = exists(join(folder, "runs", name));
  const child = start(args.filter((arg) => isThere || arg !== "--resume"));
  let stderr = "";
  let peakBytes = 0;
  child.stderr!.on("data", (part: Buffer) => (stderr += part.toString()));
  child.stdout!.resume();
  const timer = setInterval(() => {
    peakBytes = Math.max(peakBytes, peakOf(child.pid!));
    if (sizeOf(outcomesOf(name)) >= killAtBytes) kill(child);
  }, 50);
  const [code] = (await once(child, "close")) as [number | null];
  clearInterval(timer);
  return { code, peakBytes, stderr };
}

const outcomesOf = (name: string) => join(folder, "runs", name, "eval/size/model/outcomes.jsonl");

function exists(path: string): boolean {
  return statSync(path, { throwIfNoEntry: false }) !== undefined;
}

function sizeOf(path: string): number {
  return statSync(path, { throwIfNoEntry: false })?.size ?? 0;
}

/** The most memory that a process has held so far. */
function peakOf(pid: number): number {
  try {
    const kib = /VmHWM:\s+(\d+)/.exec(readFileSync(`/proc/${pid}/status`, "utf8"))?.[1] ?? "0";
    return Number(kib) * 1024;
  } catch {
    return 0; // it has ended
  }
}

async function finished(url: string, name: string, file: string) {
  const begin = performance.now();
  const { code, peakBytes, stderr } = await evaluate(url, name, file);
  if (code !== 0) throw new Error(`eval ${name} ends with ${code}: ${stderr}`);
  return { peakBytes, seconds: (performance.now() - begin) / 1000 };
}

async function killedAndResumed(url: string, bytes: number) {
  const begin = performance.now();
  const random = stream(Number(seed), "kills");
  const shares = Array.from({ length: Number(kills) }, () => random.uniform(0.05, 0.95));
  let peakBytes = 0;
  let numKilled = 0;
  for (const share of shares.toSorted((a, b) => a - b)) {
    const attempt = await evaluate(url, "killed", "large.jsonl", share * bytes);
    if (attempt.code !== null)
      throw new Error(`eval ends with ${attempt.code} before it is killed: ${attempt.stderr}`);
    numKilled++;
    peakBytes = Math.max(peakBytes, attempt.peakBytes);
    const lines = readFileSync(outcomesOf("killed"), "utf8").split("\n").length - 1;
    say(`killed at ${lines} of ${questions} outcomes`);
  }
  const last = await finished(url, "killed", "large.jsonl");
  const seconds = (performance.now() - begin) / 1000;
  return { peakBytes: Math.max(peakBytes, last.peakBytes), seconds, numKilled };
}

const mib = (bytes: number) => `${Math.round(bytes / 2 ** 20)} MiB`;

async function run(): Promise<number> {
  await writeQuestions();
  const server = start(["serve", model, "--port", "0", "--json"]);
  server.stderr!.resume();
  const lines = createInterface({ input: server.stdout! });
  const [ready] = (await once(lines, "line")) as [string];
  const { url } = JSON.parse(ready) as { url: string };
  // As many tries as the large set has: what the collector leaves lying differs from one to the next.
  let fewPeak = 0;
  for (let attempt = 0; attempt < Number(kills) + 2; attempt++) {
    const few = await finished(url, `few-${attempt}`, "few.jsonl");
    say(`${small} questions: ${few.seconds.toFixed(1)} s, peak ${mib(few.peakBytes)}`);
    fewPeak = Math.max(fewPeak, few.peakBytes);
  }
  const straight = await finished(url, "straight", "large.jsonl");
  const rate = (Number(questions) / straight.seconds).toFixed(1);
  say(
    `${questions} questions undisturbed: ${straight.seconds.toFixed(1)} s (${rate} a second), peak ${mib(straight.peakBytes)}`,
  );
  const expected = readFileSync(outcomesOf("straight"), "utf8");
  const killed = await killedAndResumed(url, Buffer.byteLength(expected));
  say(
    `${questions} questions, killed ${killed.numKilled} times: ${killed.seconds.toFixed(1)} s, peak ${mib(killed.peakBytes)}`,
  );
  const found = readFileSync(outcomesOf("killed"), "utf8");
  const ids = found
    .trimEnd()
    .split("\n")
    .map((line) => (JSON.parse(line) as { recordId: string }).recordId);
  const isOnce = ids.length === Number(questions) && new Set(ids).size === ids.length;
  const isSame = found === expected;
  const growth = Math.max(straight.peakBytes, killed.peakBytes) / fewPeak;
  say(`every question exactly once: ${isOnce ? "yes" : `no (${new Set(ids).size} ids)`}`);
  say(`outcomes the same bytes as undisturbed: ${isSame ? "yes" : "no"}`);
  say(`peak over that of ${small} questions: ${growth.toFixed(2)}`);
  return isOnce && isSame && growth <= maxGrowth ? 0 : 1;
}

try {
  process.exitCode = await run();
} finally {
  children.forEach(kill);
  rmSync(folder, { recursive: true, force: true });
}
