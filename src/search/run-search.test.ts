import { spawn } from "node:child_process";
import { appendFile, mkdtemp, readFile, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, expect, test } from "vitest";
import { VigorlError } from "../core/errors.ts";
import { ReplyFault } from "../engine/reply-fault.ts";
import { runOptions, numRecords, someRecords } from "./fixtures/search-run.ts";
import { TableSampler, searcher } from "./fixtures/table-sampler.ts";
import {
  failuresFile,
  readFailures,
  requireGrowth,
  runSearch,
  totalsOf,
  treesFile,
  type SearchProgress,
  type SearchTotals,
} from "./run-search.ts";
import { readTrees, withoutClock } from "./tree-line.ts";

let root: string;
const folders: string[] = [];
let straight: Awaited<ReturnType<typeof treesIn>>;
let totals: Omit<SearchTotals, "seconds">;

const newFolder = (): string => {
  folders.push(join(root, String(folders.length)));
  return folders.at(-1)!;
};

const timeless = (progress: SearchProgress): typeof totals => {
  const { seconds: _, ...rest } = totalsOf(progress);
  return rest;
};

/** In the order of the file. */
async function treesIn(folder: string) {
  const trees = [];
  for await (const tree of readTrees(join(folder, treesFile))) trees.push(withoutClock(tree));
  return trees;
}

beforeAll(async () => {
  root = await mkdtemp(join(tmpdir(), "vigorl-search-"));
  const folder = newFolder();
  totals = timeless(await runSearch(runOptions(folder, null)));
  straight = await treesIn(folder);
}, 120_000);

afterAll(() => rm(root, { recursive: true, force: true }));

test("an undisturbed run finishes every tree once", () => {
  expect(straight.map(({ recordId }) => recordId)).toEqual(someRecords().map(({ id }) => id));
  expect(new Set(straight.map(({ root: top }) => JSON.stringify(top))).size).toBe(numRecords);
});

test("trees and calls at once change no tree", async () => {
  const folder = newFolder();
  await runSearch(runOptions(folder, null, { run: { trees: 1 }, limits: { concurrency: 1 } }));
  expect(await treesIn(folder)).toEqual(straight);
});

test("failed and hanging calls, a kill and a torn line: the same trees in the same order, and totals", async () => {
  const folder = newFolder();
  const script = join(import.meta.dirname, "fixtures/search-run.ts");
  const child = spawn(process.execPath, ["--import", "tsx", script, folder], { stdio: "inherit" });
  const over = new Promise<string | null>((done) => child.on("exit", (_, signal) => done(signal)));
  const lines = () =>
    readFile(join(folder, treesFile), "utf8").then(
      (text) => text.split("\n").length - 1,
      () => 0,
    );
  while ((await lines()) < 3 && child.exitCode === null)
    await new Promise((resolve) => setTimeout(resolve, 20));
  child.kill("SIGKILL");
  expect(await over).toBe("SIGKILL");
  const before = await lines();
  expect(before).toBeGreaterThanOrEqual(3);
  expect(before).toBeLessThan(numRecords);
  await appendFile(join(folder, treesFile), '{"version":1,"recordId":"digit-29","que');

  const faults = { fail: 0.05, hang: 0.02, seed: 2 };
  const progress = await runSearch(runOptions(folder, faults, { resume: true }));
  expect(progress.skipped).toBe(before);
  expect(progress.done).toBe(numRecords - before);
  expect(timeless(progress)).toEqual(totals);
  expect(await treesIn(folder)).toEqual(straight);
}, 120_000);

test("what fails goes to failures, is retried on resume, and stops nobody", async () => {
  const folder = newFolder();
  const records = someRecords(6).map((record, i) =>
    i === 2
      ? { ...record, images: [{ kind: "path", path: join(root, "no.png") } as const] }
      : record,
  );
  const first = await runSearch(runOptions(folder, null, { records }));
  expect(first).toMatchObject({ done: 5, failed: 1, skipped: 0 });
  expect(await readFailures(folder)).toMatchObject([{ recordId: "digit-2", code: "input" }]);
  await runSearch(runOptions(folder, null, { records, resume: true }));
  const failures = await readFile(join(folder, failuresFile), "utf8");
  expect(failures.match(/"recordId":"digit-2"/g)).toHaveLength(1);
  const second = await runSearch(
    runOptions(folder, null, { records: someRecords(6), resume: true }),
  );
  expect(second).toMatchObject({ done: 1, failed: 0, skipped: 5 });
  expect(await treesIn(folder)).toEqual(straight.slice(0, 6));
  expect(await readFailures(folder)).toEqual([]);
});

test("a deadline frees the slot of a tree whose calls never end", async () => {
  const folder = newFolder();
  const slow = { fail: 0, hang: 1, seed: 1 };
  const options = runOptions(folder, slow, {
    records: someRecords(4),
    run: { trees: 2, treeTimeoutSeconds: 0.05 },
    limits: { concurrency: 2, timeoutMs: 60_000 },
  });
  const progress = await runSearch(options);
  expect(progress).toMatchObject({ done: 0, failed: 4 });
  expect((await readFailures(folder)).map(({ code }) => code)).toEqual(["io", "io", "io", "io"]);
});

test("an abort keeps what is finished and throws its reason; resume completes it", async () => {
  const folder = newFolder();
  const controller = new AbortController();
  const stopped = runSearch(
    runOptions(folder, null, {
      signal: controller.signal,
      run: { trees: 2 },
      onProgress: ({ done }) =>
        done === 4 && controller.abort(new VigorlError("interrupted", "by hand")),
    }),
  );
  await expect(stopped).rejects.toThrow("by hand");
  const done = (await treesIn(folder)).length;
  expect(done).toBeGreaterThanOrEqual(4);
  expect(done).toBeLessThan(8);
  await runSearch(runOptions(folder, null, { resume: true }));
  expect(await treesIn(folder)).toEqual(straight);
});

test("mistakes stop the run: other settings, a folder in use, ids that come twice", async () => {
  const [folder] = folders;
  await expect(runSearch(runOptions(folder, null))).rejects.toThrow("holds 30 trees already");
  const other = runOptions(folder, null, { resume: true, search: { simulations: 3 } });
  await expect(runSearch(other)).rejects.toThrow("other settings or another seed");
  const seed = runOptions(folder, null, { resume: true, seed: 6 });
  await expect(runSearch(seed)).rejects.toThrow("other settings or another seed");
  const twice = runOptions(newFolder(), null, { records: [...someRecords(2), ...someRecords(1)] });
  await expect(runSearch(twice)).rejects.toThrow("two records have the id digit-0");
});

test("replies that cannot be used cost their calls; where there are no others, that is said", async () => {
  const folder = newFolder();
  const faulty = new TableSampler(searcher);
  const says = faulty.sample.bind(faulty);
  let calls = 0;
  faulty.sample = (...args) =>
    calls++ % 5 === 0 ? Promise.reject(new ReplyFault("the reply is empty")) : says(...args);
  const some = await runSearch(runOptions(folder, null, { sampler: faulty }));
  expect(some).toMatchObject({ done: numRecords, failed: 0, firstBadReply: "the reply is empty" });
  expect(some.badReplies).toBeGreaterThan(numRecords);
  expect(() => requireGrowth(some)).not.toThrow();
  const dropped = (await treesIn(folder)).map(({ root: top }) => top.dropped.badReply ?? 0);
  expect(Math.max(...dropped)).toBeGreaterThan(0);

  const mute = new TableSampler(searcher);
  mute.sample = () => Promise.reject(new ReplyFault("the reply is empty"));
  const few = runOptions(newFolder(), null, { sampler: mute, records: someRecords(3) });
  const none = await runSearch(few);
  expect(none).toMatchObject({ done: 3, failed: 0, grown: 0 });
  expect(() => requireGrowth(none)).toThrow(
    /none of \d+ calls gave a step: \d+ replies could not be used, the first because: the reply/,
  );
  const many = runOptions(newFolder(), null, { sampler: mute });
  await expect(runSearch(many)).rejects.toThrow(/none of \d+ calls gave a step/);
});

test("questions that do not fit are failures with a reason, and end a search of no others", async () => {
  const tight = new TableSampler(searcher);
  Object.assign(tight, { capabilities: { ...tight.capabilities, maxPositions: 10 } });
  const options = runOptions(newFolder(), null, { sampler: tight, records: someRecords(3) });
  const progress = await runSearch(options);
  expect(progress).toMatchObject({ done: 0, failed: 3 });
  expect(() => requireGrowth(progress)).toThrow(
    /all of the first 3 trees failed: digit-\d: the prompt takes/,
  );
});

test("a request that the server refuses, and a server that is down, end the run early", async () => {
  const refuse = new TableSampler(searcher);
  refuse.sample = () => Promise.reject(new VigorlError("usage", "401: wrong key"));
  const refused = runOptions(newFolder(), null, { sampler: refuse });
  await expect(runSearch(refused)).rejects.toThrow("401: wrong key");
  const folder = newFolder();
  const down = runOptions(folder, { fail: 1, hang: 0, seed: 1 }, { limits: { retries: 1 } });
  await expect(runSearch(down)).rejects.toThrow(
    /all of the first 2\d trees failed: the connection was cut/,
  );
  expect((await readFile(join(folder, failuresFile), "utf8")).split("\n").length).toBeLessThan(30);
});
