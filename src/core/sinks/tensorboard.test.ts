/**
 * The event files, record by record; that TensorBoard itself reads them so is held by
 * `scripts/fixtures/tensorboard_events.py`, whose input is the fixture here.
 */
import { mkdtemp, readdir, readFile, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, expect, test, vi } from "vitest";
import { tensorboardSink } from "./tensorboard.ts";

let folder: string;
beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), "vigorl-events-"));
  vi.useFakeTimers({ toFake: ["Date"], now: new Date("2026-01-02T03:04:05.250Z") });
});
afterEach(async () => {
  vi.useRealTimers();
  await rm(folder, { recursive: true });
});

/** A run of three steps that was killed, and resumed from the checkpoint of step 1. */
async function killedAndResumed(): Promise<Buffer[]> {
  const first = tensorboardSink(folder);
  for (const step of [1, 2, 3]) await first.append(row(step, 1));
  await first.picture?.(picture(1, 1));
  await first.picture?.(picture(3, 2));
  const second = tensorboardSink(folder);
  await second.rewind(1);
  for (const step of [2, 3, 4]) await second.append(row(step, 0.5));
  const names = (await readdir(folder)).toSorted();
  return Promise.all(names.map(async (name) => readFile(join(folder, name))));
}

const row = (step: number, scale: number) => ({
  step,
  loss: scale / step,
  "reward/answer": -step,
  "seconds/step": 1e9,
  parity: NaN,
  note: "not a figure",
});

/** One pixel as PNG. */
const png = Buffer.from(
  "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAIAAACQd1PeAAAADElEQVR4nGP4z8AAAAMBAQDJ/pLvAAAAAElFTkSuQmCC",
  "base64",
);
const picture = (step: number, widthPx: number) => ({
  step,
  name: "episodes/0",
  png,
  widthPx,
  heightPx: 1,
});

const fixture = (name: string) => new URL(`../fixtures/tensorboard/${name}`, import.meta.url);

test("a run that was resumed leaves the two files that TensorBoard was shown", async () => {
  const files = await killedAndResumed();
  expect(files).toHaveLength(2);
  expect(files[0].equals(await readFile(fixture("first")))).toBe(true);
  expect(files[1].equals(await readFile(fixture("resumed")))).toBe(true);
});

test("TensorBoard showed each step once, the resumed ones as the second run had them", async () => {
  const read: unknown = JSON.parse(await readFile(fixture("read.json"), "utf8"));
  const seen = (valueOf: (step: number) => number | null) =>
    [1, 2, 3, 4].map((step) => [step, valueOf(step), 1767323045.25]);
  expect(read).toEqual({
    "episodes/0": [[1, 1, 1, png.toString("base64")]],
    loss: seen((step) => Math.fround((step === 1 ? 1 : 0.5) / step)),
    "reward/answer": seen((step) => -step),
    "seconds/step": seen(() => 1e9),
    parity: seen(() => null),
  });
});

test("files of one second come in the order in which they were opened", async () => {
  await killedAndResumed();
  const third = tensorboardSink(folder);
  await third.rewind(4);
  const times = (await readdir(folder))
    .map((name) => Number(name.split(".")[3]))
    .toSorted((a, b) => a - b);
  expect(times.map((time) => time - times[0])).toEqual([0, 1, 2]);
});

test("a folder that cannot be written is an error that names it", async () => {
  const sink = tensorboardSink("/dev/null/tensorboard");
  await expect(sink.append(row(1, 1))).rejects.toMatchObject({ code: "io" });
});
