/**
 * Repositories of the Hugging Face hub in its standard cache, which other programs share: files are
 * downloaded by @huggingface/hub, each is checked against its hash, and what is there already is not
 * fetched again, so that a stopped download goes on with the next file. The revision is a commit, found
 * out once and kept as the cache's `refs/main`. Without a network the error says which files are
 * needed and where they belong.
 */
import { createHash } from "node:crypto";
import { existsSync, readFileSync } from "node:fs";
import { readdir, realpath, rm, stat } from "node:fs/promises";
import { join } from "node:path";
import { VigorlError } from "./errors.ts";
import { hashFile, writeFileAtomic } from "./files.ts";
import { findPath } from "./paths.ts";

export interface HubRepo {
  readonly kind: "model" | "dataset";
  /** `owner/name` */
  readonly name: string;
  /** A branch, a tag or a commit; default main. */
  readonly revision?: string;
}

/** A commit of a repository, as far as it was fetched. */
export interface HubSnapshot {
  readonly folder: string;
  readonly revision: string;
}

export interface HubOptions {
  /** Default: where HF_HUB_CACHE or HF_HOME say, else ~/.cache/huggingface/hub. */
  readonly cacheDir?: string | undefined;
  readonly fetch?: typeof fetch | undefined;
  readonly signal?: AbortSignal | undefined;
  readonly say?: ((line: string) => void) | undefined;
}

/** True for `owner/name` where no file or folder of that path is there. */
export function isHubName(path: string): boolean {
  // What lies here, or comes with vigorl, is no name; nor is a run or a model of ours that is missing.
  const isName = /^(?!(?:runs|models)\/)[A-Za-z0-9][\w.-]*\/[A-Za-z0-9][\w.-]*$/.test(path);
  return isName && !existsSync(findPath(path));
}

/** The commit that the cache has for a repository, or null. */
export async function cachedSnapshot(
  repo: HubRepo,
  { cacheDir }: Pick<HubOptions, "cacheDir"> = {},
): Promise<HubSnapshot | null> {
  const storage = await storageOf(repo, cacheDir);
  const { revision = "main" } = repo;
  const ref = join(storage, "refs", revision);
  const commit = existsSync(ref) ? readFileSync(ref, "utf8").trim() : revision;
  const folder = join(storage, "snapshots", commit);
  const entries = await readdir(folder).catch((): string[] => []);
  return entries.length === 0 ? null : { folder, revision: commit };
}

/**
 * Fetches the files of a repository that `wants` names.
 * @param needs how an error calls these files, a line each
 * @throws VigorlError("io") where the hub cannot be reached, "input" where it has no such repository or
 *   files, or a file is not what its hash says
 */
export async function fetchSnapshot(
  repo: HubRepo,
  wants: (path: string) => boolean,
  needs: readonly string[],
  options: HubOptions = {},
): Promise<HubSnapshot> {
  const { cacheDir, signal, say } = options;
  const hub = await import("@huggingface/hub");
  const storage = await storageOf(repo, cacheDir);
  const accessToken = process.env.HF_TOKEN;
  const shared = {
    repo: { type: repo.kind, name: repo.name } as const,
    ...(options.fetch === undefined ? {} : { fetch: options.fetch }),
    ...(accessToken === undefined ? {} : { accessToken }),
  };
  const branch = repo.revision ?? "main";
  const files: HubFile[] = [];
  // The library tells of downloads on standard output, which is ours for results.
  const output: { debug: (...words: unknown[]) => void } = globalThis.console;
  const { debug } = output;
  output.debug = () => undefined;
  try {
    const about = {
      ...shared,
      name: repo.name,
      revision: branch,
      additionalFields: ["sha" as const],
    };
    const { sha: revision } = await (repo.kind === "model"
      ? hub.modelInfo(about)
      : hub.datasetInfo(about));
    for await (const { type, path, size, oid, lfs } of hub.listFiles({
      ...shared,
      revision,
      recursive: true,
    }))
      if (type === "file" && wants(path)) files.push({ path, size, oid, sha256: lfs?.oid });
    if (files.length === 0)
      throw new VigorlError("input", `${repo.name}: has none of the files ${needs.join(", ")}`, {
        hint: "it may have been renamed or laid out anew since this was written",
      });
    for (const [i, entry] of files.entries()) {
      signal?.throwIfAborted();
      const { path, size } = entry;
      say?.(`${i + 1}/${files.length} ${path} (${(size / 1e6).toFixed(1)} MB)`);
      const file = await hub.downloadFileToCacheDir({
        ...shared,
        path,
        revision,
        cacheDir: await cacheOf(cacheDir),
      });
      await checkBlob(file, repo.name, entry);
    }
    await writeFileAtomic(join(storage, "refs", branch), revision);
    return { folder: join(storage, "snapshots", revision), revision };
  } catch (error) {
    throw hubError(error, repo, needs, storage);
  } finally {
    output.debug = debug;
  }
}

async function cacheOf(cacheDir: string | undefined): Promise<string> {
  return cacheDir ?? (await import("@huggingface/hub")).getHFHubCachePath();
}

async function storageOf({ kind, name }: HubRepo, cacheDir: string | undefined): Promise<string> {
  return join(await cacheOf(cacheDir), [`${kind}s`, ...name.split("/")].join("--"));
}

interface HubFile {
  readonly path: string;
  readonly size: number;
  /** Git's own SHA-1, of the pointer where the file is large. */
  readonly oid: string | undefined;
  readonly sha256: string | undefined;
}

/** Holds a file against the hash that the hub has told of it; a damaged one is removed. */
async function checkBlob(file: string, repo: string, entry: HubFile): Promise<void> {
  const blob = await realpath(file);
  const { sha256, oid, path } = entry;
  const found = sha256 === undefined ? await gitHash(blob) : await hashFile(blob);
  if (found === (sha256 ?? oid)) return; // where the hub tells no hash, nothing is believed
  await rm(blob, { force: true });
  throw new VigorlError("input", `${repo}: ${path} arrived damaged (its hash is ${found})`, {
    hint: "the copy was removed; fetch it again",
  });
}

async function gitHash(file: string): Promise<string> {
  const { size } = await stat(file);
  const data = readFileSync(file);
  return createHash("sha1").update(`blob ${size}\0`).update(data).digest("hex");
}

function hubError(
  error: unknown,
  repo: HubRepo,
  needs: readonly string[],
  storage: string,
): unknown {
  if (error instanceof VigorlError || !(error instanceof Error)) return error;
  if (error.name === "AbortError") return error;
  const status = "statusCode" in error ? Number(error.statusCode) : undefined;
  if (status === 401 || status === 403 || status === 404)
    return new VigorlError(
      "input",
      `${repo.name}: the hub has no such ${repo.kind} for you (${status})`,
      {
        hint: "check the name; where it is behind terms, accept them on its page and set HF_TOKEN",
        cause: error,
      },
    );
  const cause = error.cause instanceof Error ? error.cause.message : error.message;
  const flag = repo.kind === "dataset" ? "--data" : "--model";
  return new VigorlError("io", `${repo.name}: the hub cannot be reached: ${cause}`, {
    hint: `on a machine with a network, fetch these files of the ${repo.kind} ${repo.name}:\n${needs
      .map((line) => `    ${line}`)
      .join(
        "\n",
      )}\n  put them into a folder and name it with ${flag}, or copy the cache's own folder to\n    ${storage}`,
    cause: error,
  });
}
