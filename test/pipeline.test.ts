/**
 * The whole pipeline through the command line, on the tiny model: a straight run, one that is
 * interrupted and resumed, and the reports they leave.
 */
import { existsSync, mkdtempSync, readdirSync, readFileSync, rmSync } from "node:fs";
import { writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, expect, test } from "vitest";
import { hashFile } from "../src/core/files.ts";
import { armSchema, type Report } from "../src/eval/report.ts";
import { decodeImage, encodePng } from "../src/image/decode.ts";
import { nanoRecords } from "../src/nano/tasks.ts";
import { loadImages } from "../src/task/record.ts";
import { readTraces } from "../src/task/trace.ts";
import { makeTinyRecipe } from "./fixtures/tiny-recipe.ts";
import { runVigorl } from "./fixtures/command-line.ts";

let folder: string;

beforeAll(async () => {
  folder = mkdtempSync(join(tmpdir(), "vigorl-pipeline-"));
  await makeTinyRecipe(folder);
});
afterAll(() => rmSync(folder, { recursive: true, force: true }));

async function sceneImage(): Promise<Uint8Array> {
  const [record] = nanoRecords({ task: "search", split: "heldout", count: 1, seed: 1 });
  return encodePng((await loadImages(record))[0]);
}

const vigorl = (args: readonly string[], interruptAt?: RegExp) =>
  runVigorl(folder, args, interruptAt);

const weights = (run: string, stage: string, step: number) =>
  hashFile(join(folder, run, "tiny", stage, "checkpoints", `step-${step}`, "model.safetensors"));

test("demo ends with a table and a report; stopped and resumed, it ends with the same", async () => {
  const straight = await vigorl(["demo", "tiny.yaml", "--out", "straight"]);
  expect(straight.stderr).not.toMatch(/\n\s+at /);
  expect(straight.code).toBe(0);
  expect(straight.stdout).toMatch(/^arm +task +n +accuracy[^]*rl-zoom +search +12/);
  expect(straight.stdout).toContain("straight/tiny/report.html");

  const run = join(folder, "straight/tiny");
  const report = JSON.parse(readFileSync(join(run, "report.json"), "utf8")) as Report;
  expect(report.arms.map((arm) => armSchema.parse(arm).name)).toEqual([
    "base",
    "sft",
    "sft-samples",
    "rl-single",
    "rl-samples",
    "rl-zoom",
    "crop-blank",
    "crop-elsewhere",
    "no-tool",
    "no-image",
  ]);
  expect(report.arms.every((arm) => arm.n === 12 && arm.task === "search")).toBe(true);
  const arm = (name: string) => report.arms.find((each) => each.name === name)!;
  expect(arm("base").toolUsesPerEpisode).toBeGreaterThan(0.5);
  expect(arm("rl-single").toolUsesPerEpisode).toBe(0);
  expect(arm("no-tool").toolUsesPerEpisode).toBe(0);
  expect(report.curves.map((curve) => curve.stage)).toContain("rl-zoom");

  const blank = await readTraces(join(run, "eval/search/crop-blank/traces.jsonl"));
  expect(blank).toHaveLength(3);
  const uses = blank.flatMap((trace) => trace.toolUses).filter((use) => use.gives !== null);
  expect(uses.every((use) => use.control === "blank")).toBe(true);
  const page = readFileSync(join(run, "report.html"), "utf8");
  expect(page.match(/(?:src|href)="(?!data:|#)/g)).toBeNull();
  const [, shown] = page.split('<section class="traces">');
  expect(shown.match(/<article class="panel"/g)).toHaveLength(3 * 10);

  // Trees of the search, each with the crops that it saw.
  const trees = page.split('class="scroll tree"').slice(1);
  expect(trees.length).toBeGreaterThan(0);
  for (const tree of trees)
    expect(tree).toMatch(/<svg [^]*<image [^>]*href="data:image\/png[^]*<\/svg>/);
  expect(straight.stderr).toMatch(/\] 12\/12 evaluation: rl-zoom, .* · about \d.* left in all\n/);
  expect(straight.stderr).not.toMatch(/\] 2\/12 .* left in all/);

  await writeFile(join(folder, "scene.png"), await sceneImage());
  const asked = await vigorl([
    "ask",
    "scene.png",
    "Which digit is on the red star?",
    "--model",
    "straight/tiny",
  ]);
  expect([0, 3]).toContain(asked.code); // 3: the tiny model has said nothing well formed
  expect(asked.stderr).toMatch(/^ 1 {2}\S/m);
  expect(asked.stdout).toMatch(/scene-looked\.png\n$/);
  expect((await decodeImage(join(folder, "scene-looked.png"))).widthPx).toBe(448);

  const more = ["rl", "tiny.yaml", "--name", "more", "--rl.steps=1", "--json"];
  const single = await vigorl(more);
  expect(single.stderr).toBe("");
  expect(JSON.parse(single.stdout)).toMatchObject({
    steps: 1,
    folder: "runs/more/checkpoints/step-1",
  });

  const chained = ["sft", "tiny.yaml", "--name", "chained", "--sft.chains.maxExamples=4"];
  const warm = await vigorl([...chained, "--sft.chains.from=straight/tiny/search", "--json"]);
  expect(warm.stderr).toBe("");
  expect(JSON.parse(warm.stdout)).toMatchObject({ steps: 1, notes: { examples: 4 } });
  const none = await vigorl([...chained, "--sft.chains.from=straight/tiny/sft", "--overwrite"]);
  expect(none.stderr).toMatch(/chains\.jsonl: no chains there\n {2}fix: .*linearize/);

  const stopped = await vigorl(["demo", "tiny.yaml", "--out", "resumed"], /rl-zoom +1\/4/);
  expect(stopped.stderr).toMatch(/stopped after step \d, saved\n {2}fix: go on with --resume/);
  expect(stopped.code).toBe(130);
  expect(existsSync(join(folder, "resumed/tiny/report.json"))).toBe(false);
  const again = await vigorl(["demo", "tiny.yaml", "--out", "resumed"]);
  expect([again.code, again.stderr]).toEqual([2, expect.stringContaining("--resume")]);
  const resumed = await vigorl(["demo", "tiny.yaml", "--out", "resumed", "--resume", "--json"]);
  expect(resumed.code).toBe(0);
  expect(await weights("resumed", "rl-zoom", 4)).toBe(await weights("straight", "rl-zoom", 4));
  const figures = ({ arms }: Report) =>
    arms.map(({ seconds: _, spent, ...each }) => ({ ...each, spent: { ...spent, seconds: 0 } }));
  expect(figures(JSON.parse(resumed.stdout) as Report)).toEqual(figures(report));
  expect(readdirSync(folder, { recursive: true, encoding: "utf8" }).join("\n")).not.toMatch(
    /writing/,
  );

  const other = await vigorl(["demo", "tiny.yaml", "--out", "resumed", "--resume", "--seed", "2"]);
  expect([other.code, other.stderr]).toEqual([2, expect.stringContaining("another recipe")]);
}, 600_000);
