/**
 * What a run is made from: its datasets and the files of the weights that it starts with, by hash. They
 * are kept in the manifest, and a run that is resumed is held to them.
 */
import { readdir, stat } from "node:fs/promises";
import { join, relative } from "node:path";
import { VigorlError } from "./core/errors.ts";
import { hashFile, ioError } from "./core/files.ts";
import { findPath } from "./core/paths.ts";
import { benchmarkFiles, benchmarkFolder } from "./eval/benchmarks/load.ts";
import { benchmarkOf } from "./eval/benchmarks/table.ts";
import type { Recipe } from "./recipe.ts";

/** SHA-256 of each dataset, by its path in the recipe, and of each file of the model, as `model/<name>`. */
export async function inputHashes(
  { data, sft }: Pick<Recipe, "data" | "sft">,
  model: string,
): Promise<Record<string, string>> {
  const files = new Map<string, string>();
  for (const source of [...data.train, ...data.heldout]) {
    if (source.file !== undefined) files.set(source.file, findPath(source.file));
    if (source.benchmark === undefined) continue;
    const benchmark = benchmarkOf(source.benchmark);
    const folder = await benchmarkFolder(benchmark, source.folder);
    for (const path of await benchmarkFiles(benchmark, folder, source.split))
      files.set(`${benchmark.name}/${relative(folder, path)}`, path);
  }
  for (const name of await modelFiles(model)) files.set(`model/${name}`, join(model, name));
  const from = sft.chains?.from;
  if (from !== undefined)
    files.set(
      from,
      (await isFile(findPath(from))) ? findPath(from) : join(findPath(from), "chains.jsonl"),
    );
  const hashes: Record<string, string> = {};
  for (const [name, path] of files) if (await isFile(path)) hashes[name] = await hashFile(path);
  return hashes;
}

/** @throws VigorlError("usage") naming what a run was started on and is no longer the same */
export function refuseChanges(
  run: string,
  before: Readonly<Record<string, string>>,
  now: Readonly<Record<string, string>>,
): void {
  const names = [...new Set([...Object.keys(before), ...Object.keys(now)])];
  const changed = names
    .filter((name) => before[name] !== now[name])
    .map(
      (name) =>
        `${name} ${now[name] === undefined ? "is missing" : before[name] === undefined ? "is new" : "was changed"}`,
    );
  if (changed.length === 0) return;
  throw new VigorlError(
    "usage",
    `${run}: its inputs are not those it began with: ${changed.join(", ")}`,
    {
      hint: "put the files back, or start again with --overwrite",
    },
  );
}

/** Weights with every shard, configuration, tokenizer and templates; not the state of a trainer. */
async function modelFiles(folder: string): Promise<string[]> {
  const names = await readdir(folder).catch((error: unknown) => {
    throw ioError(error, folder);
  });
  return names
    .filter((name) => /\.(safetensors|json|jinja|txt)$/.test(name))
    .filter((name) => !/^(optimizer|trainer)\.|^state\.json$/.test(name))
    .sort();
}

async function isFile(path: string): Promise<boolean> {
  return stat(path).then(
    (entry) => entry.isFile(),
    () => false,
  );
}
