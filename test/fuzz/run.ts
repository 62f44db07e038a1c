/**
 * The long fuzz behind scripts/fuzz.sh. Cases run in a child process that says before each one which it
 * is: a signal, a hang, a rejection that nobody handled, or memory that runs away is laid at the door of
 * the case that was running, and a new child goes on behind it. Ends with 1 where anything was found.
 */
import { fork } from "node:child_process";
import { mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { join, resolve } from "node:path";
import { fileURLToPath } from "node:url";
import { faultOf, hangMs, inputOf } from "./one-case.ts";
import { targets } from "./targets.ts";
import type { Target } from "./target.ts";

/** A child may grow by this much over what it takes for sound input. */
const maxGrowthBytes = 1e9;

interface Report {
  readonly index: number;
  readonly fault?: string | null;
  readonly rss: number;
}

const [name = "all", count = "1000", seed = "1", first = "0"] = process.argv.slice(2);

function say(line: string): void {
  process.stdout.write(`${line}\n`);
}

if (process.send === undefined) {
  const chosen = targets.filter((target) => name === "all" || target.name === name);
  if (chosen.length === 0) {
    say(`no target ${name}; there are: ${targets.map((one) => one.name).join(", ")}`);
    process.exit(2);
  }
  let numFaults = 0;
  for (const target of chosen) {
    const start = performance.now();
    const faults = await runTarget(target);
    const seconds = ((performance.now() - start) / 1000).toFixed(0);
    say(`${target.name}: ${count} cases, ${faults} faulty, ${seconds} s`);
    numFaults += faults;
  }
  process.exitCode = numFaults === 0 ? 0 : 1;
} else await runChild(targets.find((one) => one.name === name)!);

async function runTarget(target: Target): Promise<number> {
  const end = Number(first) + Number(count);
  let next = Number(first);
  let numFaults = 0;
  while (next < end) {
    const { at, fault } = await watchChild(target, next, end);
    if (fault !== null) {
      numFaults++;
      keep(target, at, fault);
    }
    next = at + 1;
  }
  return numFaults;
}

/** Runs a child until it is done or a case is faulty: which one, and how. */
function watchChild(
  target: Target,
  from: number,
  end: number,
): Promise<{ at: number; fault: string | null }> {
  const args = [target.name, String(end - from), seed, String(from)];
  const child = fork(fileURLToPath(import.meta.url), args, { stdio: ["ignore", 2, 2, "ipc"] });
  return new Promise((settle) => {
    let at = from;
    let sound: number | undefined;
    let fault: string | null = null;
    let timer: NodeJS.Timeout;
    // On a busy machine a case may stand still for long through no fault of its own.
    const isStarved = () => cpuMs(child.pid) - cpuAtStart < hangMs && ++looks < 8;
    let cpuAtStart = 0;
    let looks = 0;
    const finish = (what: string) => {
      fault ??= what;
      child.kill("SIGKILL");
    };
    const wind = (ms: number) => {
      clearTimeout(timer);
      timer = setTimeout(() => {
        if (isStarved()) wind(ms);
        else finish("the whole process hangs");
      }, ms);
    };
    wind(600_000); // until it has started, on a busy machine too
    child.on("message", (report: Report) => {
      [cpuAtStart, looks] = [cpuMs(child.pid), 0];
      wind(hangMs + 5000);
      at = report.index;
      sound ??= report.rss;
      if (typeof report.fault === "string") finish(report.fault);
      else if (report.rss > sound + maxGrowthBytes)
        finish(`${Math.round((report.rss - sound) / 1e6)} MB more than at the start`);
    });
    child.on("exit", (code, signal) => {
      clearTimeout(timer);
      if (fault === null && code !== 0) fault = `the process ended (${signal ?? `code ${code}`})`;
      settle({ at, fault });
    });
  });
}

/** Processor time that a process has had, where the system tells (Linux); else more than any case may take. */
function cpuMs(pid: number | undefined): number {
  try {
    const stat = readFileSync(`/proc/${pid}/stat`, "utf8");
    const [user, system] = stat
      .slice(stat.lastIndexOf(")") + 2)
      .split(" ")
      .slice(11, 13);
    return 10 * (Number(user) + Number(system));
  } catch {
    return Infinity;
  }
}

async function runChild(target: Target): Promise<void> {
  for (let index = Number(first); index < Number(first) + Number(count); index++) {
    process.send!({ index, rss: process.memoryUsage.rss() } satisfies Report);
    const fault = await faultOf(target, Number(seed), index);
    process.send!({ index, fault, rss: process.memoryUsage.rss() } satisfies Report);
  }
  process.disconnect();
}

function keep(target: Target, index: number, fault: string): void {
  const folder = resolve("fuzz-faults");
  mkdirSync(folder, { recursive: true });
  const file = join(folder, `${target.name}-${seed}-${index}${target.extension}`);
  writeFileSync(file, inputOf(target, Number(seed), index));
  say(`${target.name} ${seed} ${index}: ${fault}\n  kept as ${file}`);
}
