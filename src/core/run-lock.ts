/**
 * One run, one writer. `run.lock` in a run's folder names the process and the host that write there;
 * a second writer is refused by that name. A lock whose process is gone is taken over at once on the
 * same host. Elsewhere (another host or container over a shared file system) nobody can see a process,
 * so a writer touches its lock every few seconds, and one that was not touched for two minutes counts
 * as left behind; ages are measured with the file system's own clock. A writer that was taken for dead
 * (a suspended machine) notices at its next step that the lock is another's, and stops.
 * Left out: fencing. Between the check and a write there is a moment in which two may write.
 */
import { randomUUID } from "node:crypto";
import { readFileSync, readlinkSync, rmSync } from "node:fs";
import { link, mkdir, open, readFile, rm, rmdir, stat } from "node:fs/promises";
import { setTimeout as sleep } from "node:timers/promises";
import { hostname } from "node:os";
import { dirname, resolve } from "node:path";
import { z } from "zod";
import { errno, VigorlError } from "./errors.ts";
import { ioError } from "./files.ts";
import { inside } from "./inside.ts";

/** Name of the lock in a run's folder. */
export const lockFile = "run.lock";

const beatMs = 10_000;
/** Silence after which a writer on another host counts as gone. */
const silenceMs = 120_000;
/** Nobody takes that long to remove a stale lock but who was killed in the middle. */
const removingMs = 10_000;

const holderSchema = z.strictObject({
  /** Tells writers of one process apart. */
  token: z.string(),
  pid: z.int(),
  /** When the process began, in the kernel's ticks: a number that is given twice is another process. */
  began: z.string().nullable(),
  host: z.string(),
  /** Writers of one place see each other's processes. */
  place: z.string(),
  since: z.string(),
});
type Holder = z.infer<typeof holderSchema>;

/** A lock that is held; `release` it when the run ends, whatever the end is. */
export class RunLock {
  private readonly file: string;
  private readonly token: string;
  /** The outermost folder that was made for the run. */
  private readonly made: string | undefined;
  private readonly timer: NodeJS.Timeout;

  private constructor(file: string, token: string, made: string | undefined) {
    this.file = file;
    this.token = token;
    this.made = made;
    this.timer = setInterval(() => void this.beat(), beatMs).unref();
    process.off("exit", releaseAll).on("exit", releaseAll);
    held.set(file, token);
  }

  /** Takes the lock of a run's folder; makes the folder where there is none. @throws VigorlError */
  static async take(folder: string): Promise<RunLock> {
    const file = inside(folder, lockFile);
    const made = await mkdir(folder, { recursive: true }).catch((error: unknown) => {
      throw ioError(error, folder);
    });
    const holder: Holder = {
      token: randomUUID(),
      pid: process.pid,
      began: beginningOf(process.pid),
      host: hostname(),
      place: processPlace(),
      since: new Date().toISOString(),
    };
    for (let attempt = 0; attempt < 50; attempt++) {
      if (await writeNew(file, holder)) return new RunLock(file, holder.token, made);
      const other = await holderOf(file);
      if (other === "gone") continue;
      if (await isAlive(other, file)) throw refusal(folder, other);
      await removeStale(file, other, holder);
    }
    throw new VigorlError("usage", `${folder}: several processes want to write there`, {
      hint: "start one of them",
    });
  }

  /** @throws VigorlError("io") where another process has taken the lock over */
  async check(): Promise<void> {
    const holder = await holderOf(this.file);
    if (isOf(holder, this.token)) return;
    const who = isHolder(holder) ? `taken over by ${nameOf(holder)}` : "removed";
    throw new VigorlError("io", `${this.file}: the lock of this run was ${who}`, {
      hint: "only one process may write to a run; go on with --resume once the other is done",
    });
  }

  /** Gives the lock back, and removes the folders that were made and into which nothing came. */
  async release(): Promise<void> {
    clearInterval(this.timer);
    held.delete(this.file);
    const holder = await holderOf(this.file).catch(() => null);
    if (isOf(holder, this.token)) await rm(this.file, { force: true });
    if (this.made === undefined) return;
    for (let folder = dirname(this.file); ; folder = dirname(folder)) {
      if (!(await removedEmpty(folder)) || resolve(folder) === resolve(this.made)) return;
    }
  }

  /** Writes the same bytes again, so that the file system notes the time; a lock that is lost is left. */
  private async beat(): Promise<void> {
    const text = await readFile(this.file, "utf8").catch(() => "");
    if (parseHolder(text)?.token !== this.token) return clearInterval(this.timer);
    await writeInto(this.file, "r+", text).catch(() => undefined);
  }
}

/** Who writes to the run in a folder now, in words; null where nobody does. */
export async function writerOf(folder: string): Promise<string | null> {
  const file = inside(folder, lockFile);
  const holder = await holderOf(file);
  return holder !== "gone" && isHolder(holder) && (await isAlive(holder, file))
    ? nameOf(holder)
    : null;
}

/** A piece of work that writes to the run in `path`, made to hold the run's lock while it lasts. */
export function oneWriter<O extends { readonly path: string }, A extends unknown[], R>(
  work: (options: O & { readonly lock: RunLock }, ...rest: A) => Promise<R>,
): (options: O, ...rest: A) => Promise<R> {
  return async (options, ...rest) => {
    const lock = await RunLock.take(options.path);
    try {
      return await work({ ...options, lock }, ...rest);
    } finally {
      await lock.release();
    }
  };
}

async function removedEmpty(folder: string): Promise<boolean> {
  return rmdir(folder).then(
    () => true,
    () => false,
  );
}

/** Locks of this process: they go with it, unless it is killed. */
const held = new Map<string, string>();

function releaseAll(): void {
  for (const [file, token] of held) {
    try {
      if (parseHolder(readFileSync(file, "utf8"))?.token === token) rmSync(file);
    } catch {
      // It is gone, or cannot be read: nothing of ours is left to remove.
    }
  }
}

/** Makes the lock with its content in one step, so that nobody reads half of it; false where one is there. */
async function writeNew(file: string, holder: Holder): Promise<boolean> {
  const beside = `${file}.${holder.token.slice(0, 8)}.writing`;
  try {
    await writeInto(beside, "wx", `${JSON.stringify(holder)}\n`);
    await link(beside, file);
    return true;
  } catch (error) {
    if (errno(error) === "EEXIST") return false;
    if (errno(error) === "EPERM" || errno(error) === "ENOTSUP") return writePlain(file, holder);
    throw ioError(error, file);
  } finally {
    await rm(beside, { force: true });
  }
}

async function writeInto(file: string, flags: "wx" | "r+", text: string): Promise<void> {
  const handle = await open(file, flags);
  try {
    await handle.write(text, 0);
  } finally {
    await handle.close();
  }
}

/** On file systems without hard links. */
async function writePlain(file: string, holder: Holder): Promise<boolean> {
  try {
    await writeInto(file, "wx", `${JSON.stringify(holder)}\n`);
    return true;
  } catch (error) {
    if (errno(error) === "EEXIST") return false;
    throw ioError(error, file);
  }
}

/** Who holds a lock; null where it does not say, "gone" where it is not there any more. */
async function holderOf(file: string): Promise<Holder | null | "gone"> {
  try {
    return parseHolder(await readFile(file, "utf8"));
  } catch (error) {
    if (errno(error) === "ENOENT") return "gone";
    throw ioError(error, file);
  }
}

function isHolder(found: Holder | null | "gone"): found is Holder {
  return found !== null && found !== "gone";
}

function isOf(found: Holder | null | "gone", token: string): boolean {
  return isHolder(found) && found.token === token;
}

function parseHolder(text: string): Holder | null {
  try {
    return holderSchema.parse(JSON.parse(text));
  } catch {
    return null;
  }
}

async function isAlive(holder: Holder | null, file: string): Promise<boolean> {
  if (holder?.place !== processPlace()) return (await ageMs(file)) < silenceMs;
  try {
    process.kill(holder.pid, 0);
  } catch (error) {
    if (errno(error) === "ESRCH") return false;
  }
  return beginningOf(holder.pid) === holder.began;
}

/** How long ago a lock was touched, by the clock of the file system that it lies on. */
async function ageMs(file: string): Promise<number> {
  const probe = `${file}.${randomUUID().slice(0, 8)}.writing`;
  try {
    await (await open(probe, "wx")).close();
    const [now, touched] = [await stat(probe), await stat(file)];
    return now.mtimeMs - touched.mtimeMs;
  } catch (error) {
    if (errno(error) === "ENOENT") return Infinity;
    throw ioError(error, file);
  } finally {
    await rm(probe, { force: true });
  }
}

/**
 * Takes a stale lock away. Many may find it stale: one of them, by a file of its own, looks again and
 * removes it, so that no lock that came in its place goes with it.
 */
async function removeStale(file: string, stale: Holder | null, remover: Holder): Promise<void> {
  const mutex = `${file}.removing`;
  if (!(await writeNew(mutex, remover))) {
    await sleep(20);
    if ((await ageMs(mutex)) > removingMs) await rm(mutex, { force: true });
    return;
  }
  try {
    const holder = await holderOf(file);
    if (holder !== "gone" && holder?.token === stale?.token) await rm(file, { force: true });
  } finally {
    await rm(mutex, { force: true });
  }
}

function refusal(folder: string, holder: Holder | null): VigorlError {
  const who = holder === null ? "another process" : nameOf(holder);
  return new VigorlError("usage", `${folder}: is being written by ${who}`, {
    hint: `wait for it or stop it; or choose another --name. Where it is long gone, remove ${lockFile}`,
  });
}

function nameOf({ pid, host, since }: Holder): string {
  return `process ${pid} on ${host} since ${since}`;
}

/** A boot and a namespace of process numbers where Linux tells them, else the host. */
function processPlace(): string {
  try {
    const boot = readFileSync("/proc/sys/kernel/random/boot_id", "utf8").trim();
    return `${boot} ${readlinkSync("/proc/self/ns/pid")}`;
  } catch {
    return hostname();
  }
}

function beginningOf(pid: number): string | null {
  try {
    const text = readFileSync(`/proc/${pid}/stat`, "utf8");
    // The name of the program, in brackets, may hold anything; field 22 is the 20th behind it.
    return text.slice(text.lastIndexOf(")") + 2).split(" ")[19];
  } catch {
    return null;
  }
}
