import { mkdtempSync, readFileSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { expect, test } from "vitest";
import { loadOwn } from "../core/own-module.ts";
import { ownPath } from "../core/paths.ts";
import { bootstrapNested } from "../core/statistics.ts";
import { loadTasks } from "../recipe.ts";
import type { RewardFunction } from "../task/own-reward.ts";
import type { TaskRecord } from "../task/record.ts";
import type { Trajectory } from "../task/trajectory.ts";
import { loadAblation, needsOf, unitsOf } from "./ablation.ts";
import { verdictOf } from "./results.ts";
import { nameOf, recipesOf, runAblation, type AblationOptions } from "./run.ts";
import { runUnit } from "./unit.ts";

const folder = () => mkdtempSync(join(tmpdir(), "vigorl-ablation-"));
const model = ownPath("models/nano");

const recipe = `
engine: { model: ${JSON.stringify(model)} }
tools: { zoom: { windowPx: 8, outputPx: 112 } }
episode: { maxTurns: 3, maxToolImages: 2, maxTokensPerTurn: 64, maxTotalTokens: 256 }
prompts: { style: nano }
data:
  train: [{ nano: search, count: 24 }]
  heldout: [{ nano: search, count: 6 }]
search: { simulations: 3, maxDepth: 3, rolloutSteps: 3, run: { records: 8 } }
linearize: { layout: inline, maxTurns: 3 }
sft: { epochs: 1, batchSize: 4, collect: { prompts: 12, samplesPerPrompt: 4, maxExamples: 4 } }
rl: { steps: 2, promptsPerStep: 3, groupSize: 4 }
eval: { temperature: 1, traces: 1 }
`;
const ablation = `
name: small
recipe: recipe.yaml
seeds: [1, 2]
arms:
  search: { do: search, set: { search.run.compare: true } }
  sft: { do: sft, chains: search }
  rl: { do: rl, from: sft, set: { rl.loss: gspo, eval.controls: [crop-blank] } }
  late: { do: sft, seeds: [2] }
findings:
  - { claim: GRPO helps, arm: rl, against: base }
  - { claim: crops help, arm: rl, against: rl/crop-blank, tasks: [search], margin: 99 }
`;

function written(text = ablation): string {
  const at = folder();
  writeFileSync(join(at, "recipe.yaml"), recipe);
  writeFileSync(join(at, "ablation.yaml"), text);
  return join(at, "ablation.yaml");
}

test("units come seed by seed, behind what they need", () => {
  const read = loadAblation(written());
  const names = unitsOf(read).map(nameOf).join(" ");
  expect(names).toBe("base@1 search@1 sft@1 rl@1 base@2 search@2 sft@2 rl@2 late@2");
  expect(needsOf(read, { arm: "sft", seed: 2 }).map(nameOf)).toEqual(["search@2"]);
});

test.each([
  ["from: sft, set", "from: fst, set", /rl\.from: there is no arm fst before this one/],
  ["chains: search", "chains: rl", /sft\.chains: there is no search rl before this arm/],
  ["from: sft, set", "from: search, set", /search is a search: it has no weights/],
  ["against: base", "against: bass", /there is no trained arm bass/],
  ["rl/crop-blank,", "rl/crop-blink,", /there is no control crop-blink/],
  ["do: rl", "do: ppo", /arms\.rl\.do/],
  ["late:", "base:", /arms\.base: is the recipe's own model/],
])("%s → %s is refused by name", (was, is, message) => {
  expect(() => loadAblation(written(ablation.replace(was, is)))).toThrow(message);
});

test("a key that an arm sets wrongly is named before anything is run", () => {
  const wrong = loadAblation(written(ablation.replace("rl.loss: gspo", "rl.los: gspo")));
  expect(() => recipesOf(wrong)).toThrow(/rl\.los/);
});

test("the ablation that is shipped can be run", () => {
  const shipped = loadAblation(ownPath("recipes/nano-ablations.yaml"));
  expect(Object.keys(recipesOf(shipped)).length).toBeGreaterThan(20);
  expect(shipped.findings.length).toBeGreaterThan(15);
});

test("an interval over seeds is as wide as the seeds differ; a verdict needs all of it", () => {
  const same = Array.from({ length: 3 }, () => Array.from({ length: 200 }, (_, i) => i % 2));
  const apart = [0.1, 0.5, 0.9].map((share) =>
    Array.from({ length: 200 }, (_, i) => Number(i < 200 * share)),
  );
  const narrow = bootstrapNested(same);
  const wide = bootstrapNested(apart);
  expect(narrow.mean).toBeCloseTo(0.5);
  expect(wide.mean).toBeCloseTo(0.5);
  expect(wide.interval[1] - wide.interval[0]).toBeGreaterThan(
    4 * (narrow.interval[1] - narrow.interval[0]),
  );
  expect(bootstrapNested(apart)).toEqual(wide);
  expect(verdictOf([0.01, 0.2], 0)).toBe("holds");
  expect(verdictOf([0.01, 0.2], 0.1)).toBe("cannot tell");
  expect(verdictOf([-0.2, -0.01], 0)).toBe("does not hold");
  expect(verdictOf([-0.2, 0.01], 0)).toBe("cannot tell");
});

test(
  "runs what is missing, in any order and with a stop between, to the same results",
  { timeout: 300_000 },
  async () => {
    const one = (text: string) => loadAblation(written(text.replace("[1, 2]", "[2]")));
    const read = one(ablation);
    const options = (path: string, changes: Partial<AblationOptions>): AblationOptions => {
      const signal = changes.signal ?? new AbortController().signal;
      return {
        ablation: read,
        path,
        resume: false,
        overwrite: false,
        parallel: 1,
        quiet: true,
        signal,
        command: "vigorl ablate",
        run: (unit) => runUnit(read, path, unit, { quiet: true, signal, command: "test" }),
        ...changes,
      };
    };
    const straight = await runAblation(options(join(folder(), "run"), {}));
    expect([straight.units, straight.done, straight.skipped]).toEqual([5, 5, 0]);
    expect(straight.findings.map(({ seeds }) => seeds)).toEqual([[2], [2]]);
    expect(straight.findings[1].verdict).not.toBe("holds");
    expect(straight.arms.map(({ arm }) => arm)).toEqual([
      "base",
      "sft",
      "rl",
      "rl/crop-blank",
      "late",
    ]);
    expect(straight.searches[0]).toMatchObject({ arm: "search", task: "search", seeds: [2] });
    expect(straight.trends.map(({ arm }) => arm)).toEqual(["rl"]);
    const [{ metrics }] = straight.trends;
    const last = (name: string) => metrics[name][1];
    const terms = Object.keys(metrics).filter((name) => name.startsWith("reward/"));
    expect(terms.reduce((sum, term) => sum + last(term), 0)).toBeCloseTo(last("reward"), 9);
    const page = readFileSync(join(straight.folder, "results.md"), "utf8");
    expect(page).toContain("GRPO helps");
    expect(page).toMatch(/\| rl \|.*→/);
    const html = readFileSync(join(straight.folder, "results.html"), "utf8");
    expect(html).toContain("GRPO helps");
    expect(html).toContain("data:image/svg+xml;base64,");
    expect(readFileSync(join(straight.folder, "curves.svg"), "utf8")).toContain("looks an episode");

    const path = join(folder(), "run");
    const controller = new AbortController();
    const { signal } = controller;
    const stopping = options(path, { signal, parallel: 2 });
    const run = async (unit: Parameters<AblationOptions["run"]>[0]) => {
      await stopping.run(unit);
      if (nameOf(unit) === "sft@2") controller.abort(new Error("stopped"));
    };
    await expect(runAblation({ ...stopping, run })).rejects.toThrow("stopped");
    const resumed = await runAblation(options(path, { resume: true, parallel: 2 }));
    expect(resumed.skipped).toBeGreaterThan(1);
    const { arms, findings } = straight;
    expect({ arms: resumed.arms, findings: resumed.findings }).toEqual({ arms, findings });

    // Nothing of the run before is taken for one of this.
    let runs = 0;
    const again = runAblation({
      ...options(path, { overwrite: true }),
      run: () => (runs++, Promise.reject(new Error("no room"))),
    });
    await expect(again).rejects.toThrow(/failed/);
    expect(runs).toBe(3);

    const changed = one(ablation.replace("gspo", "cispo"));
    const other = options(path, { resume: true, ablation: changed });
    await expect(runAblation(other)).rejects.toThrow(/rl: rl\.loss/);
  },
);

test("a unit that fails is named, and those that do not need it are run", async () => {
  const read = loadAblation(written());
  const path = join(folder(), "run");
  const asked: string[] = [];
  const failing = runAblation({
    ablation: read,
    path,
    resume: false,
    overwrite: false,
    parallel: 1,
    only: ["rl", "late"],
    quiet: true,
    signal: new AbortController().signal,
    command: "vigorl ablate",
    run: (unit) => {
      asked.push(nameOf(unit));
      return unit.arm === "search" ? Promise.reject(new Error("no room")) : Promise.resolve();
    },
  });
  await expect(failing).rejects.toThrow(/2 runs failed\n {2}search@1: no room/);
  expect(asked).toEqual(["base@1", "search@1", "base@2", "search@2", "late@2"]);
});

test("the farming example: its arms find their modules, wherever it is called from", async () => {
  const file = fileURLToPath(new URL("../../examples/farming/ablation.yaml", import.meta.url));
  const here = process.cwd();
  process.chdir(folder());
  try {
    const recipes = recipesOf(loadAblation(file));
    const train = await loadTasks(recipes.hedging, "train");
    const answers = train.flatMap(({ records }) => Array.from(records, ({ answer }) => answer));
    expect(answers.filter((answer) => answer === "0 1 2 3 4 5 6 7 8 9")).toHaveLength(64);
    expect(answers).toHaveLength(256);
    const { module } = recipes["substring-published"].rl.reward;
    const pays = await loadOwn<RewardFunction>("rl.reward.module", module ?? "");
    const record = { answer: "7" } as TaskRecord;
    const said = (answer: string) => pays({ answer } as Trajectory, record, usual);
    expect([said("7"), said("0 1 2 7."), said("3"), said("")]).toEqual([1, 1, 0, 0]);
  } finally {
    process.chdir(here);
  }
});

const usual = { total: 0, accuracy: 0, terms: {} };
