import { spawn } from "node:child_process";
import { existsSync, readFileSync, utimesSync, writeFileSync } from "node:fs";
import { mkdir, mkdtemp } from "node:fs/promises";
import { hostname, tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, expect, test } from "vitest";
import { lockFile, oneWriter, RunLock } from "./run-lock.ts";

let folder: string;
let file: string;
const locks: RunLock[] = [];
beforeEach(async () => {
  folder = join(await mkdtemp(join(tmpdir(), "vigorl-lock-")), "run");
  file = join(folder, lockFile);
});
afterEach(async () => {
  for (const lock of locks.splice(0)) await lock.release();
});

async function take(): Promise<RunLock> {
  const lock = await RunLock.take(folder);
  locks.push(lock);
  return lock;
}

/** Leaves a lock as another holder would, with changes. */
async function leave(changes: object): Promise<void> {
  const mine = await RunLock.take(folder);
  const holder = JSON.parse(readFileSync(file, "utf8")) as object;
  await mine.release();
  await mkdir(folder);
  writeFileSync(file, JSON.stringify({ ...holder, token: "theirs", ...changes }));
}

const beginningOf = (pid: number) => {
  const text = readFileSync(`/proc/${pid}/stat`, "utf8");
  return text.slice(text.lastIndexOf(")") + 2).split(" ")[19];
};
const age = (seconds: number) => {
  const then = new Date(Date.now() - 1000 * seconds);
  utimesSync(file, then, then);
};

test("a second writer is refused by name, and let in when the first is done", async () => {
  const lock = await take();
  await lock.check();
  await expect(take()).rejects.toThrow(
    new RegExp(`run: is being written by process ${process.pid} on ${hostname()} since`),
  );
  await lock.release();
  expect(existsSync(folder)).toBe(false);
  await take();
});

test("the lock of a process on this host stands as long as the process", async () => {
  const child = spawn("sleep", ["60"]);
  const pid = child.pid!;
  await leave({ pid, began: beginningOf(pid) });
  age(3600);
  await expect(take()).rejects.toThrow(`process ${pid} on`);
  const ended = new Promise((resolve) => child.on("exit", resolve));
  child.kill("SIGKILL");
  await ended;
  await expect((await take()).check()).resolves.toBeUndefined();
});

test("a number that the kernel gave again is another process", async () => {
  await leave({ pid: process.pid, began: "1" });
  await expect((await take()).check()).resolves.toBeUndefined();
});

test("elsewhere a lock stands as long as it is touched", async () => {
  await leave({ host: "other", place: "another boot", pid: 1 });
  await expect(take()).rejects.toThrow("process 1 on other");
  age(200);
  await expect((await take()).check()).resolves.toBeUndefined();
});

test("a lock that does not say whose it is stands as long as it is touched", async () => {
  await leave({});
  writeFileSync(file, "");
  await expect(take()).rejects.toThrow("another process");
  age(200);
  await expect((await take()).check()).resolves.toBeUndefined();
});

test("of many that find a stale lock one gets it", async () => {
  await leave({ pid: 2 ** 22 + 1 });
  const tries = await Promise.allSettled(Array.from({ length: 12 }, take));
  const got = tries.flatMap((one) => (one.status === "fulfilled" ? [one.value] : []));
  expect(got).toHaveLength(1);
  await got[0].check();
});

test("a writer that lost its lock notices", async () => {
  const lock = await take();
  const holder = JSON.parse(readFileSync(file, "utf8")) as object;
  writeFileSync(file, JSON.stringify({ ...holder, token: "theirs", pid: 7, host: "other" }));
  await expect(lock.check()).rejects.toThrow("taken over by process 7 on other");
  await lock.release();
  expect(readFileSync(file, "utf8")).toContain("theirs");
});

test("work that is one writer's is refused to a second, and free again after a failure", async () => {
  const work = oneWriter<{ path: string }, [boolean], string>(async ({ lock }, fail) => {
    await lock.check();
    await new Promise((resolve) => setTimeout(resolve, 20));
    if (fail) throw new Error("broken");
    return "done";
  });
  const [first, second] = await Promise.allSettled([
    work({ path: folder }, false),
    work({ path: folder }, false),
  ]);
  expect([first.status, second.status].sort()).toEqual(["fulfilled", "rejected"]);
  await expect(work({ path: folder }, true)).rejects.toThrow("broken");
  expect(await work({ path: folder }, false)).toBe("done");
  expect(existsSync(file)).toBe(false);
});
