import { mkdtemp, readFile, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { expect, test } from "vitest";
import { writeJsonl } from "../core/jsonl.ts";
import { cropOverlap, type PictureLine } from "../task/pictures.ts";
import { createRunFolder } from "../core/run-folder.ts";
import { alarmSchema, alarmsOf, watchRun } from "./collapse.ts";
import { drawCurves } from "./draw-curves.ts";
import type { Metrics } from "./metrics.ts";

const config = alarmSchema.parse({ window: 4 });
const healthy = {
  accuracy: 0.4,
  toolShare: 0.9,
  toolUsesPerEpisode: 1.2,
  cropOverlap: 0.1,
  zeroVarianceShare: 0.3,
  entropy: 0.8,
  "reward/answer": 0.4,
  "reward/distinct": 0.05,
};

/** Sixteen steps from the healthy figures to others. */
function run(end: Partial<typeof healthy>): Metrics[] {
  return Array.from({ length: 16 }, (_, i) => {
    const at = Math.max(0, Math.min(1, (i - 3) / 8));
    const names = Object.keys(healthy) as (keyof typeof healthy)[];
    const values = names.map((name) => [
      name,
      healthy[name] + at * ((end[name] ?? healthy[name]) - healthy[name]),
    ]);
    return { step: i + 1, ...(Object.fromEntries(values) as Partial<Metrics>) };
  });
}
const told = (end: Partial<typeof healthy>) => alarmsOf(run(end), config).map((one) => one.metric);

test("a run that learns to look and to answer raises no alarm", () => {
  expect(told({})).toEqual([]);
  expect(
    told({ accuracy: 0.9, toolUsesPerEpisode: 3, "reward/distinct": 0.2, entropy: 0.3 }),
  ).toEqual([]);
});

test.each([
  ["toolShare", { toolShare: 0.02, toolUsesPerEpisode: 0.02, accuracy: 0.6 }],
  ["toolUsesPerEpisode", { toolUsesPerEpisode: 4 }],
  ["cropOverlap", { cropOverlap: 0.95 }],
  ["zeroVarianceShare", { zeroVarianceShare: 0.98 }],
  ["entropy", { entropy: 0.01 }],
  ["reward/distinct", { "reward/distinct": 0.3 }],
] as const)("%s warns once, when it begins to hold", (metric, end) => {
  const alarms = alarmsOf(run(end), config);
  expect(alarms.map((one) => one.metric)).toEqual([metric]);
  expect(alarms[0].step).toBeGreaterThanOrEqual(8);
});

test("an alarm that ceased may come again", () => {
  const gone = run({ entropy: 0.01 });
  const lines = [...gone, ...run({}), ...gone].map((line, i) => ({ ...line, step: i + 1 }));
  expect(alarmsOf(lines, config).filter((one) => one.metric === "entropy")).toHaveLength(2);
});

test("a resumed run is warned of what is new, and of nothing twice", async () => {
  const folder = await mkdtemp(join(tmpdir(), "vigorl-"));
  try {
    const lines = run({ entropy: 0.01 });
    const all = alarmsOf(lines, config);
    for (const at of [0, 3, 9, 15]) {
      const file = join(folder, `metrics-${at}.jsonl`);
      await writeJsonl(file, lines.slice(0, at));
      const watch = await watchRun(file, config);
      const later = lines.slice(at).flatMap((line) => watch.note(line));
      expect(later).toEqual(all.filter(({ step }) => step > at));
    }
  } finally {
    await rm(folder, { recursive: true });
  }
});

test("the curves of a run say its alarms", async () => {
  const folder = await mkdtemp(join(tmpdir(), "vigorl-"));
  try {
    const description = { verb: "rl", name: "a", seed: 1, recipe: {} };
    const made = await createRunFolder(join(folder, "a"), description);
    const lines = run({ entropy: 0.01 });
    await writeJsonl(made.file("metrics.jsonl"), lines);
    const [{ step }] = alarmsOf(lines, config);
    await drawCurves(made, config);
    const said = `step ${step}: the policy has no choice left`;
    expect(await readFile(made.file("curves.svg"), "utf8")).toContain(said);
    await drawCurves(made);
    expect(await readFile(made.file("curves.svg"), "utf8")).not.toContain("no choice left");
  } finally {
    await rm(folder, { recursive: true });
  }
});

test("crops share a part of the smaller one; of two images, nothing", () => {
  const crop = (of: number, ...box: [number, number, number, number]): PictureLine => ({
    id: 1,
    tool: "zoom",
    turn: 0,
    imageHash: "",
    widthPx: 10,
    heightPx: 10,
    of,
    box,
  });
  const record = { ...crop(0, 0, 0, 100, 100), tool: null };
  expect(cropOverlap([record, crop(0, 0, 0, 10, 10)])).toBeNull();
  expect(cropOverlap([record, crop(0, 0, 0, 10, 10), crop(0, 0, 0, 20, 20)])).toBe(1);
  expect(cropOverlap([record, crop(0, 0, 0, 10, 10), crop(0, 5, 0, 15, 10)])).toBe(0.5);
  expect(cropOverlap([record, crop(0, 0, 0, 10, 10), crop(1, 0, 0, 10, 10)])).toBe(0);
  const three = [crop(0, 0, 0, 10, 10), crop(0, 0, 0, 10, 10), crop(0, 50, 50, 60, 60)];
  expect(cropOverlap(three)).toBeCloseTo(1 / 3);
});
