/**
 * What a run is made from: its datasets, the pictures beside them, and the files of the weights that it
 * starts with, by hash. They are kept in the manifest, and a run that is resumed is held to them.
 */
import { createHash } from "node:crypto";
import { readdir, stat } from "node:fs/promises";
import { basename, join, relative } from "node:path";
import pLimit from "p-limit";
import { VigorlError } from "./core/errors.ts";
import { hashFile, ioError } from "./core/files.ts";
import { findPath } from "./core/paths.ts";
import { benchmarkFiles, benchmarkFolder } from "./eval/benchmarks/load.ts";
import { benchmarkOf } from "./eval/benchmarks/table.ts";
import type { Recipe, TaskSet } from "./recipe.ts";
import { cardFile } from "./task/model-card.ts";

/**
 * SHA-256 of each dataset, module and file of chains, by its name, so that all of it can be moved; of
 * each file of the model, as `model/<name>`, and of its adapter; and of all picture files of a task
 * together, as `pictures of <task>`.
 */
export async function inputHashes(
  recipe: Pick<Recipe, "data" | "sft" | "rl" | "judge" | "tools">,
  weights: { readonly model?: string; readonly adapter?: string | undefined },
  tasks: readonly TaskSet[],
): Promise<Record<string, string>> {
  const { data, sft, rl, judge, tools } = recipe;
  const files = new Map<string, string>();
  const add = (path: string) => {
    const found = findPath(path);
    if ([...files.values()].includes(found)) return;
    const name = basename(path);
    const twice = [...files.keys()].filter((other) => other.startsWith(`${name} (`)).length;
    files.set(files.has(name) ? `${name} (${twice + 2})` : name, found);
  };
  const modules: unknown[] = [rl.reward.module, judge.module, ...(tools.modules ?? [])];
  for (const source of [...data.train, ...data.heldout, ...data.validation])
    modules.push(source.module);
  for (const code of modules) if (typeof code === "string") add(code);
  for (const source of [...data.train, ...data.heldout, ...data.validation]) {
    if (source.file !== undefined) add(source.file);
    if (source.benchmark === undefined) continue;
    const benchmark = benchmarkOf(source.benchmark);
    const folder = await benchmarkFolder(benchmark, source.folder);
    for (const path of await benchmarkFiles(benchmark, folder, source.split))
      files.set(`${benchmark.name}/${relative(folder, path)}`, path);
  }
  for (const [part, place] of Object.entries(weights)) {
    if (place === undefined) continue;
    for (const name of await modelFiles(place)) files.set(`${part}/${name}`, join(place, name));
  }
  const from = sft.chains?.from;
  if (from !== undefined) add((await isFile(findPath(from))) ? from : join(from, "chains.jsonl"));
  const hashes: Record<string, string> = {};
  for (const [name, path] of files) {
    const hash = await knownHash(path);
    if (hash !== null) hashes[name] = hash;
  }
  return { ...hashes, ...(await pictureHashes(tasks)) };
}

/** Pictures in the order of the records; one that is not there counts as such, and is told when it is read. */
async function pictureHashes(tasks: readonly TaskSet[]): Promise<Record<string, string>> {
  const paths = new Map<string, Set<string>>();
  for (const { task, records } of tasks) {
    const ofTask = paths.get(task) ?? new Set();
    for (const { images } of records)
      for (const image of images) if (image.kind === "path") ofTask.add(image.path);
    if (ofTask.size > 0) paths.set(task, ofTask);
  }
  const limit = pLimit(4);
  const hashes: Record<string, string> = {};
  for (const [task, files] of paths) {
    const all = createHash("sha256");
    for (const hash of await limit.map(files, knownHash)) all.update(`${hash ?? "missing"}\n`);
    hashes[`pictures of ${task}`] = all.digest("hex");
  }
  return hashes;
}

/** What is no longer the same of what a run was started on: `train.jsonl was changed`. */
export function changesOf(
  before: Readonly<Record<string, string>>,
  now: Readonly<Record<string, string>>,
): string[] {
  const names = [...new Set([...Object.keys(before), ...Object.keys(now)])];
  return names
    .filter((name) => before[name] !== now[name])
    .map((name) => {
      if (now[name] === undefined) return `${name} is missing`;
      return before[name] === undefined ? `${name} is new` : `${name} was changed`;
    });
}

export function changedInputs(run: string, changes: readonly string[]): VigorlError {
  const what = changes.join(", ");
  return new VigorlError("usage", `${run}: its inputs are not those it began with: ${what}`, {
    hint: "put the files back, start again with --overwrite, or go on with them by --changed-inputs",
  });
}

/** Weights with every shard, configuration, tokenizer and templates; not the state of a trainer. */
async function modelFiles(folder: string): Promise<string[]> {
  const names = await readdir(folder).catch((error: unknown) => {
    throw ioError(error, folder);
  });
  return (
    names
      .filter((name) => /\.(safetensors|json|jinja|txt)$/.test(name))
      .filter((name) => !/^(optimizer|trainer)\.|^state\.json$/.test(name))
      // What a model says of itself has gone into the recipe.
      .filter((name) => name !== cardFile)
      .sort()
  );
}

/**
 * The hash of a file, null where none is there. Stages of one process share inputs: a file whose size and
 * times are those it was read with is not read again.
 */
async function knownHash(path: string): Promise<string | null> {
  const entry = await stat(path, { bigint: true }).catch(() => null);
  if (entry?.isFile() !== true) return null;
  const key = [path, entry.ino, entry.size, entry.mtimeNs, entry.ctimeNs].join(" ");
  const known = hashed.get(key) ?? (await hashFile(path));
  hashed.set(key, known);
  return known;
}

const hashed = new Map<string, string>();

async function isFile(path: string): Promise<boolean> {
  return stat(path).then(
    (entry) => entry.isFile(),
    () => false,
  );
}
