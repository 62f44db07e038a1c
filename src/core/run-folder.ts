/**
 * A run is a folder that can be read: manifest.json (what was run), metrics.jsonl (one line a
 * step), traces.jsonl with images/<hash>.png (what the model saw and wrote), checkpoints/step-N/.
 * Metrics and traces carry their step, so that a resumed run can forget what came after its
 * checkpoint and end with the same files as one that was never stopped.
 */
import { execFile } from "node:child_process";
import { access, mkdir, readFile, rm } from "node:fs/promises";
import { fileURLToPath } from "node:url";
import { join } from "node:path";
import { promisify } from "node:util";
import { z } from "zod";
import { VigorlError } from "./errors.ts";
import { ioError, removeUnfinished, writeFileAtomic } from "./files.ts";
import { appendJsonl, parseAt, truncateJsonl } from "./jsonl.ts";

export const manifestSchema = z.strictObject({
  version: z.literal(1),
  verb: z.string(),
  name: z.string(),
  createdAt: z.string(),
  seed: z.number(),
  /** The recipe with every default and override filled in. */
  recipe: z.unknown(),
  /** `vigorl`, `node`, `libtorch`, … */
  versions: z.record(z.string(), z.string()),
  /** Commit of the source tree, `-dirty` behind it where files differ; null outside a checkout. */
  gitCommit: z.string().nullable(),
  /** SHA-256 of each dataset and of the start weights, by path. */
  dataHashes: z.record(z.string(), z.string()),
});

export type Manifest = z.infer<typeof manifestSchema>;

/** What the caller knows of a run; the rest of the manifest is found out here. */
export interface RunDescription {
  readonly verb: string;
  readonly name: string;
  readonly seed: number;
  readonly recipe: unknown;
  readonly versions?: Readonly<Record<string, string>>;
  readonly dataHashes?: Readonly<Record<string, string>>;
}

/** An open run folder. Rows appended to it must carry `step` where the run can be resumed. */
export class RunFolder {
  readonly path: string;
  readonly manifest: Manifest;

  constructor(path: string, manifest: Manifest) {
    this.path = path;
    this.manifest = manifest;
  }

  get checkpointsPath(): string {
    return join(this.path, "checkpoints");
  }

  file(name: string): string {
    return join(this.path, name);
  }

  async appendMetrics(row: Readonly<Record<string, unknown>>): Promise<void> {
    await appendJsonl(this.file("metrics.jsonl"), [row]);
  }

  /** Forgets metrics and traces behind `step`, and half-written files. */
  async rewind(step: number): Promise<void> {
    const upTo = (value: unknown): boolean => {
      const row = value as { step?: unknown } | null;
      return typeof row?.step === "number" && row.step <= step;
    };
    await truncateJsonl(this.file("metrics.jsonl"), upTo);
    await truncateJsonl(this.file("traces.jsonl"), upTo);
    await removeUnfinished(this.path);
    await removeUnfinished(this.checkpointsPath);
    await removeUnfinished(join(this.path, "images"));
  }
}

/**
 * Makes the folder of a new run and writes its manifest. A folder with a manifest is another run:
 * VigorlError("usage") unless `overwrite`, which removes it first.
 */
export async function createRunFolder(
  path: string,
  description: RunDescription,
  options: { readonly overwrite?: boolean } = {},
): Promise<RunFolder> {
  try {
    if (await exists(join(path, "manifest.json"))) {
      if (options.overwrite !== true) {
        throw new VigorlError("usage", `${path}: holds a run already`, {
          hint: "continue it with --resume, start it again with --overwrite, or choose another --name",
        });
      }
      await rm(path, { recursive: true, force: true });
    }
    await mkdir(join(path, "checkpoints"), { recursive: true });
  } catch (error) {
    throw ioError(error, path);
  }
  const manifest: Manifest = {
    version: 1,
    verb: description.verb,
    name: description.name,
    createdAt: new Date().toISOString(),
    seed: description.seed,
    recipe: description.recipe,
    versions: { vigorl: await ownVersion(), node: process.version, ...description.versions },
    gitCommit: await gitCommit(),
    dataHashes: { ...description.dataHashes },
  };
  await writeFileAtomic(join(path, "manifest.json"), `${JSON.stringify(manifest, null, 2)}\n`);
  return new RunFolder(path, manifest);
}

/** Opens the folder of a run that was started before. Throws VigorlError("input" | "io"). */
export async function openRunFolder(path: string): Promise<RunFolder> {
  const file = join(path, "manifest.json");
  let text: string;
  try {
    text = await readFile(file, "utf8");
  } catch (error) {
    throw ioError(error, file);
  }
  let json: unknown;
  try {
    json = JSON.parse(text);
  } catch (error) {
    throw new VigorlError("input", `${file}: not JSON`, {
      hint: "the run folder is damaged; start again with --overwrite",
      cause: error,
    });
  }
  return new RunFolder(path, parseAt(file, json, manifestSchema));
}

/** True where `path` holds a run. */
export async function isRunFolder(path: string): Promise<boolean> {
  return exists(join(path, "manifest.json"));
}

/** Commit of the source tree this program runs from, or null. */
export async function gitCommit(): Promise<string | null> {
  const options = { cwd: fileURLToPath(new URL(".", import.meta.url)), timeout: 10_000 };
  try {
    const head = await execFileAsync("git", ["rev-parse", "HEAD"], options);
    const status = await execFileAsync("git", ["status", "--porcelain", "-uno"], options);
    return `${head.stdout.trim()}${status.stdout.trim() === "" ? "" : "-dirty"}`;
  } catch {
    return null;
  }
}

const execFileAsync = promisify(execFile);

async function ownVersion(): Promise<string> {
  const text = await readFile(new URL("../../package.json", import.meta.url), "utf8");
  return z.object({ version: z.string() }).parse(JSON.parse(text)).version;
}

async function exists(file: string): Promise<boolean> {
  return access(file).then(
    () => true,
    () => false,
  );
}
