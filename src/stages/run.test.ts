import {
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmSync,
  writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { join, resolve } from "node:path";
import { beforeEach, expect, test } from "vitest";
import { parseConfig } from "../core/config.ts";
import { loadTasks, recipeSchema, type Recipe } from "../recipe.ts";
import { ChatFormat } from "../text/chat.ts";
import { loadEpisodeConfig } from "../task/episode-config.ts";
import { checkInputs, checkRun, openRun } from "./run.ts";

let root: string;
let model: string;
let recipe: Recipe;
beforeEach(() => {
  root = mkdtempSync(join(tmpdir(), "vigorl-stages-"));
  model = join(root, "model");
  mkdirSync(model);
  for (const name of ["config.json", "model-00001-of-00002.safetensors"])
    writeFileSync(join(model, name), name);
  writeFileSync(join(model, "model-00002-of-00002.safetensors"), "second");
  writeFileSync(join(root, "train.jsonl"), line);
  writeFileSync(join(root, "p.png"), "pixels");
  const text = `name: a\ndata: { train: [{ file: ${join(root, "train.jsonl")} }] }\n`;
  recipe = parseConfig(text, "a.yaml", recipeSchema);
});

const line = '{"id": "a", "image": "p.png", "question": "?", "kind": "text", "answer": "b"}\n';
const nano = resolve(import.meta.dirname, "../../models/nano");
const engine = {
  engine: parseConfig("{}", "a.yaml", recipeSchema).engine,
  episode: await loadEpisodeConfig(nano),
};

async function open(
  name: string,
  changes: Partial<Recipe> = {},
  how: { resume?: boolean; changedInputs?: boolean } = {},
) {
  const named = { ...recipe, name, ...changes };
  const place = { path: join(root, name), recipe: named, resume: true, overwrite: false, ...how };
  const plan = { folder: model, engine: named.engine };
  const inputs = await checkInputs(place, plan, await loadTasks(named, "train"));
  return openRun(place, "rl", engine, inputs);
}

test("a run that is resumed is held to its data and to every file of its weights", async () => {
  await open("a", {}, { resume: false });
  expect((await open("a")).resume).toBe(true);
  writeFileSync(join(model, "model-00002-of-00002.safetensors"), "other");
  writeFileSync(join(root, "train.jsonl"), `${line}\n`);
  await expect(open("a")).rejects.toThrow(
    /not those it began with: .*train\.jsonl was changed, model\/model-00002-of-00002\.safetensors was changed$/,
  );
  writeFileSync(join(root, "train.jsonl"), line);
  writeFileSync(join(model, "model-00002-of-00002.safetensors"), "second");
  writeFileSync(join(model, "model-00003-of-00003.safetensors"), "third");
  await expect(open("a")).rejects.toThrow(/model-00003-of-00003\.safetensors is new$/);
});

test("pictures beside a dataset are inputs of a run, too", async () => {
  const picture = join(root, "p.png");
  await open("a", {}, { resume: false });
  writeFileSync(picture, "pixelz");
  await expect(open("a")).rejects.toThrow(/began with: pictures of train was changed$/);
  rmSync(picture);
  await expect(open("a")).rejects.toThrow(/pictures of train was changed$/);
  writeFileSync(picture, "pixels");
  expect((await open("a")).resume).toBe(true);
});

test("other inputs are gone on with where that is asked for, and the manifest says so", async () => {
  await open("a", {}, { resume: false });
  writeFileSync(join(root, "p.png"), "other");
  const { run, resume } = await open("a", {}, { changedInputs: true });
  expect(resume).toBe(true);
  const written = JSON.parse(readFileSync(join(root, "a/manifest.json"), "utf8")) as unknown;
  expect(written).toMatchObject({ inputChanges: ["pictures of train was changed"] });
  expect(run.manifest).toEqual(written);
  expect((await open("a")).resume).toBe(true);
});

test("another recipe is refused by the key that differs; another name is none", async () => {
  await open("a", {}, { resume: false });
  renameSync(join(root, "a"), join(root, "b"));
  expect((await open("b")).resume).toBe(true);
  const rl = { ...recipe.rl, groupSize: 4 };
  await expect(open("b", { rl })).rejects.toThrow(
    /was started with another recipe: rl\.groupSize was 8, is 4$/,
  );
  const path = join(root, "b");
  await expect(
    checkRun({ path, recipe: { ...recipe, rl, seed: 7 }, resume: true, overwrite: false }),
  ).rejects.toThrow(/another recipe:\n {2}seed was 1, is 7\n {2}rl\.groupSize was 8, is 4$/);
});

test("a resumed run loses what a kill left half-written, in its folder and in those below", async () => {
  await open("a", {}, { resume: false });
  const run = join(root, "a");
  mkdirSync(join(run, "stages"));
  for (const name of ["weights.json", "stages/search.json", "checkpoints/step-1"])
    writeFileSync(join(run, `${name}.52c2fd67.writing`), "half");
  await open("a");
  expect(readdirSync(run, { recursive: true, encoding: "utf8" }).sort()).toEqual([
    "checkpoints",
    "manifest.json",
    "stages",
  ]);
});

test("a run says how its conversations go on where the template would write them otherwise", async () => {
  const { episode } = engine;
  const template = readFileSync(
    resolve(import.meta.dirname, "../text/fixtures/templates/thinking-xml.jinja"),
    "utf8",
  );
  const chat = new ChatFormat(episode.chat.tokenizer, template, "thinking");
  const place = { path: join(root, "b"), recipe, resume: false, overwrite: false };
  const plan = { folder: model, engine: recipe.engine };
  const inputs = await checkInputs(place, plan, await loadTasks(recipe, "train"));
  const said = { engine: engine.engine, episode: { ...episode, chat } };
  const { run } = await openRun(place, "rl", said, inputs);
  expect(run.manifest.chat).toEqual({ history: "grown" });
  expect((await open("c", {}, { resume: false })).run.manifest.chat).toBeUndefined();
});
