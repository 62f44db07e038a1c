/**
 * Kills runs at random moments and resumes them: `npm run build`, then
 * `node --import tsx scripts/kill-runs.ts [verb|all] [kills] [full disks] [seed]`.
 * Each verb runs once undisturbed on a tiny model, from dist/. Copies of that run then lose their
 * process group to SIGKILL, twice each, at seeded moments between their first write and their end; so
 * many of them first run on a tmpfs (for which one has to be root) too small for what they write, must
 * end with code 2 and a fix, and get their space afterwards. Resumed to its end, a copy must hold the
 * files of the undisturbed run, byte for byte but for clocks and where it lies. Ends with 1 where one does not, and keeps it.
 */
import { execFileSync, spawn } from "node:child_process";
import { cpSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, watch } from "node:fs";
import { tmpdir } from "node:os";
import { join, relative, resolve } from "node:path";
import { stream, type Rng } from "../src/core/random.ts";
import { makeTinyRecipe } from "../test/fixtures/tiny-recipe.ts";

const program = resolve(import.meta.dirname, "../dist/cli.js");
const [chosen = "all", numKills = "20", numFullDisks = "5", seed = "1"] = process.argv.slice(2);
const killsPerCopy = 2;
const deadlineMs = 300_000;

const root = mkdtempSync(join(tmpdir(), "vigorl-kills-"));
const recipe = await makeTinyRecipe(root);

/** What is run, how it goes on after a kill, and where its folder is. */
const verbs: Record<string, { start: string[]; resume: string[] }> = Object.fromEntries([
  ...[["rl"], ["sft"], ["search", "--compare"], ["eval"], ["demo"]].map(([verb, ...flags]) => {
    const start = [verb, recipe, "--out", "runs", "--quiet", ...flags];
    return [verb, { start, resume: [...start, "--resume"] }];
  }),
  ...["linearize"].map((verb) => {
    const formats = ["--format", "sharegpt,parquet,parquet-paths,svg"];
    const start = [verb, join(root, "search/straight/runs/tiny"), "--out", "runs/tiny", ...formats];
    return [verb, { start, resume: start }];
  }),
]);

interface Attempt {
  readonly code: number | null;
  readonly stderr: string;
  /** From the first write to the end. */
  readonly ms: number;
}

/** Runs the command line in `folder`; kills its group `killAfterMs` after it first writes there. */
async function attempt(folder: string, args: string[], killAfterMs = deadlineMs): Promise<Attempt> {
  const child = spawn(process.execPath, [program, ...args], {
    cwd: folder,
    detached: true,
    stdio: ["ignore", "ignore", "pipe"],
    env: { ...process.env, OMP_NUM_THREADS: "1", OMP_WAIT_POLICY: "PASSIVE" },
  });
  let start: number | undefined;
  let timer: NodeJS.Timeout | undefined;
  const kill = (): boolean => process.kill(-(child.pid ?? 0), "SIGKILL");
  const begin = (): void => {
    start ??= performance.now();
    timer ??= setTimeout(kill, killAfterMs);
  };
  const watcher = watch(folder, { recursive: true }, begin);
  watcher.on("error", () => undefined); // a folder that goes away while it is being watched
  let stderr = "";
  child.stderr.on("data", (part: Buffer) => (stderr += part.toString()));
  const code = await new Promise<number | null>((done) => child.on("close", done));
  clearTimeout(timer);
  watcher.close();
  return { code, stderr, ms: performance.now() - (start ?? performance.now()) };
}

interface Tally {
  kills: number;
  fullDisks: number;
  copies: number;
  faults: number;
}

/** How long the undisturbed runs took, each made once. */
const undisturbed = new Map<string, number>();

/** Runs a verb undisturbed in its folder `straight`; linearize reads the trees of the search's. */
async function runStraight(verb: string): Promise<number> {
  const known = undisturbed.get(verb);
  if (known !== undefined) return known;
  if (verb === "linearize") await runStraight("search");
  const folder = join(root, verb, "straight");
  mkdirSync(folder, { recursive: true });
  const { code, stderr, ms } = await attempt(folder, verbs[verb].start);
  if (code !== 0) throw new Error(`${verb} undisturbed ends with ${code}: ${stderr}`);
  undisturbed.set(verb, ms);
  return ms;
}

async function tryVerb(verb: string): Promise<Tally> {
  const ms = await runStraight(verb);
  const expected = contentOf(join(root, verb, "straight"));
  const tally = { kills: 0, fullDisks: 0, copies: 0, faults: 0 };
  while (tally.kills < Number(numKills) || tally.fullDisks < Number(numFullDisks)) {
    const random = stream(Number(seed), verb, tally.copies);
    const folder = join(root, verb, `copy-${tally.copies++}`);
    mkdirSync(folder);
    const isFull = tally.fullDisks < Number(numFullDisks);
    if (isFull) tally.fullDisks++;
    const faults = await tryCopy(verb, folder, { random, ms, expected, isFull, tally });
    for (const fault of faults) process.stdout.write(`${verb} ${folder}: ${fault}\n`);
    if (faults.length > 0) tally.faults++;
    if (isFull) settleDisk(folder, faults.length > 0);
    else if (faults.length === 0) rmSync(folder, { recursive: true });
  }
  return tally;
}

interface Copy {
  readonly random: Rng;
  /** How long the undisturbed run takes. */
  readonly ms: number;
  readonly expected: ReadonlyMap<string, string>;
  readonly isFull: boolean;
  readonly tally: Tally;
}

/** Disturbs one copy, takes it to its end, and says what is wrong with it. */
async function tryCopy(verb: string, folder: string, copy: Copy): Promise<string[]> {
  const { random, ms, expected, isFull, tally } = copy;
  const { start, resume } = verbs[verb];
  let args = start;
  if (isFull) {
    const share = random.uniform(0.02, 0.98);
    mount(folder, Math.ceil((share * sizeOf(join(root, verb, "straight"))) / 4096) * 4);
    const { code, stderr } = await attempt(folder, args);
    const told = /ENOSPC[^]*\n {2}fix: .*space/.test(stderr) && !/\n\s+at /.test(stderr);
    if (code !== 2 || !told)
      return [`a disk of ${share.toFixed(2)} of the run ends with ${code}: ${stderr}`];
    execFileSync("mount", ["-o", "remount,size=1g", folder]);
    args = resume;
  }
  for (let kills = 0; ; kills++) {
    const moment = kills < killsPerCopy ? random.uniform(0, ms) : deadlineMs;
    const { code, stderr } = await attempt(folder, args, moment);
    if (code === 0) break;
    if (code !== null) return [`ends with ${code} after ${kills} kills: ${stderr}`];
    if (kills === killsPerCopy) return [`resumed, it does not end within ${deadlineMs} ms`];
    tally.kills++;
    args = resume;
  }
  return differences(expected, contentOf(folder));
}

function mount(folder: string, kibibytes: number): void {
  execFileSync("mount", ["-t", "tmpfs", "-o", `size=${kibibytes}k`, "vigorl-kills", folder]);
}

/** Takes the small disk away; what a faulty copy holds is kept beside. */
function settleDisk(folder: string, isFaulty: boolean): void {
  if (isFaulty) cpSync(folder, `${folder}-kept`, { recursive: true });
  execFileSync("umount", [folder]);
  rmSync(folder, { recursive: true });
}

function filesOf(folder: string): string[] {
  return readdirSync(folder, { recursive: true, withFileTypes: true })
    .filter((entry) => entry.isFile())
    .map((entry) => relative(folder, join(entry.parentPath, entry.name)))
    .sort();
}

function sizeOf(folder: string): number {
  const sizes = filesOf(folder).map((name) => readFileSync(join(folder, name)).length);
  return sizes.reduce((sum, size) => sum + size, 0);
}

/** Files by name, clocks taken out, and the folder that each copy lies in. */
function contentOf(folder: string): Map<string, string> {
  return new Map(
    filesOf(folder).map((name) => [name, withoutClocks(name, readFileSync(join(folder, name)))]),
  );
}

function withoutClocks(name: string, bytes: Buffer): string {
  if (/\.jsonl?$/.test(name)) {
    const lines = name.endsWith("l") ? bytes.toString().split("\n") : [bytes.toString()];
    const timeless = (key: string, value: unknown): unknown =>
      /^(seconds|tokensPerSecond)(\/|$)|^(createdAt|cwd)$/.test(key) ? undefined : value;
    const plain = lines.map((line) =>
      line === "" ? "" : JSON.stringify(JSON.parse(line, timeless) as unknown),
    );
    return name.endsWith("report.json") ? withoutTimes(plain.join("\n")) : plain.join("\n");
  }
  return /report\.(md|html)$/.test(name)
    ? withoutTimes(bytes.toString())
    : bytes.toString("latin1");
}

/** Reports show when they were made, and how long stages and arms took. */
function withoutTimes(text: string): string {
  return text
    .replace(/\d{4}-\d\d-\d\d \d\d:\d\d UTC/g, "")
    .replace(/\b(\d+ h )?(\d+ min )?\d+ s\b/g, "")
    .replace(/\| [\d.]+ \|$/gm, "")
    .replace(/<td>[\d.]+<\/td>(?=\s*<\/tr>)/g, "");
}

function differences(expected: ReadonlyMap<string, string>, found: Map<string, string>): string[] {
  const names = [...new Set([...expected.keys(), ...found.keys()])].sort();
  return names.flatMap((name) => {
    const [ours, theirs] = [found.get(name), expected.get(name)];
    if (ours === theirs) return [];
    if (ours === undefined) return [`${name} is missing`];
    if (theirs === undefined) return [`${name} is not in the undisturbed run`];
    let at = 0;
    while (ours[at] === theirs[at]) at++;
    const around = (text: string) => JSON.stringify(text.slice(Math.max(0, at - 60), at + 60));
    return [`${name} differs at ${at}: ${around(ours)}, not ${around(theirs)}`];
  });
}

const names = chosen === "all" ? Object.keys(verbs) : chosen.split(",");
let numFaulty = 0;
for (const verb of names) {
  const began = performance.now();
  const { kills, fullDisks, copies, faults } = await tryVerb(verb);
  numFaulty += faults;
  const seconds = ((performance.now() - began) / 1000).toFixed(0);
  process.stdout.write(
    `${verb}: ${copies} copies, ${kills} kills, ${fullDisks} full disks, ${faults} faulty, ${seconds} s\n`,
  );
}
if (numFaulty === 0) rmSync(root, { recursive: true });
process.exitCode = numFaulty === 0 ? 0 : 1;
