/**
 * A run is a folder that can be read: manifest.json (what was run), metrics.jsonl (one line a
 * step, and the same in other sinks where a recipe asks for them), traces.jsonl with images/<hash>.png (what the model saw and wrote), checkpoints/step-N/.
 * Metrics and traces carry their step, so that a resumed run can forget what came after its
 * checkpoint and end with the same files as one that was never stopped.
 */
import { execFile } from "node:child_process";
import { existsSync } from "node:fs";
import { mkdir, readdir } from "node:fs/promises";
import { join } from "node:path";
import { promisify } from "node:util";
import { z } from "zod";
import { errno, VigorlError } from "./errors.ts";
import { ioError, isUnfinished, removeUnfinished, writeFileAtomic } from "./files.ts";
import { inside } from "./inside.ts";
import { appendJsonl, countLines, parseAt, truncateJsonl } from "./jsonl.ts";
import { metricSinks, type SinkName } from "./metric-sinks.ts";
import { ownPath, ownVersion } from "./paths.ts";
import { lockFile, type RunLock } from "./run-lock.ts";
import { readText } from "./regular-file.ts";
import { removeRun, type RunEntry } from "./run-entries.ts";
import type { MetricPicture, MetricRow, MetricSink } from "./sinks/sink.ts";

export const manifestSchema = z.strictObject({
  version: z.literal(1),
  verb: z.string(),
  name: z.string(),
  createdAt: z.string(),
  seed: z.number(),
  /** The recipe with every default and override filled in. */
  recipe: z.unknown(),
  /** The engine's section with every \`auto\` worked out. */
  engine: z.unknown().optional(),
  /** Where the chat template, given a conversation anew, would write earlier turns otherwise. */
  chat: z.strictObject({ history: z.literal("grown") }).optional(),
  /** `vigorl`, `node`, `libtorch`, … */
  versions: z.record(z.string(), z.string()),
  /** Commit of the source tree, `-dirty` behind it where files differ; null outside a checkout. */
  gitCommit: z.string().nullable(),
  /** SHA-256 of each dataset and of the start weights, by path. */
  dataHashes: z.record(z.string(), z.string()),
  /** What of the recipe comes from the files that the model was published with. */
  notes: z.array(z.string()).optional(),
  /** The command that began it, and the folder it was given in, which relative paths count from. */
  command: z.string().optional(),
  cwd: z.string().optional(),
  /** What was no longer the same each time the run went on with other inputs than it had. */
  inputChanges: z.array(z.string()).optional(),
});

export type Manifest = z.infer<typeof manifestSchema>;

/** What the caller knows of a run; the rest of the manifest is found out here. */
export interface RunDescription {
  readonly verb: string;
  readonly command?: string | undefined;
  readonly name: string;
  readonly seed: number;
  readonly recipe: unknown;
  readonly notes?: readonly string[];
  readonly engine?: unknown;
  readonly chat?: Manifest["chat"];
  readonly versions?: Readonly<Record<string, string>>;
  readonly dataHashes?: Readonly<Record<string, string>>;
}

/** An open run folder. Rows appended to it must carry `step` where the run can be resumed. */
export class RunFolder {
  readonly path: string;
  readonly manifest: Manifest;
  /** What says that nobody else writes here; null where the caller answers for that. */
  readonly lock: RunLock | null;
  private readonly sinks: MetricSink[] = [];

  constructor(path: string, manifest: Manifest, lock: RunLock | null = null) {
    this.path = path;
    this.manifest = manifest;
    this.lock = lock;
  }

  get checkpointsPath(): string {
    return this.file("checkpoints");
  }

  /** A file or folder of the run. */
  file(name: RunEntry): string {
    return inside(this.path, name);
  }

  /** The folder of a stage of the run, which is a run of its own. */
  stage(name: string): string {
    return inside(this.path, name);
  }

  /** Sends the figures of every step to these sinks, too. */
  logTo(names: readonly SinkName[]): void {
    this.sinks.push(...names.map((name) => metricSinks[name](this.file(name))));
  }

  /** Whether a sink shows pictures, so that none need be drawn for nobody. */
  get showsPictures(): boolean {
    return this.sinks.some((sink) => sink.picture !== undefined);
  }

  async showPicture(picture: MetricPicture): Promise<void> {
    for (const sink of this.sinks) await sink.picture?.(picture);
  }

  async appendMetrics(row: MetricRow): Promise<void> {
    await this.lock?.check();
    await appendJsonl(this.file("metrics.jsonl"), [row]);
    for (const sink of this.sinks) await sink.append(row);
  }

  /** Lines of metrics and traces, for a checkpoint to be written now. */
  async numLines(): Promise<Record<string, number>> {
    const lines: Record<string, number> = {};
    for (const name of logs) lines[name] = await countLines(this.file(name));
    return lines;
  }

  /**
   * Forgets metrics and traces behind `step`, and half-written files. What a checkpoint of that step
   * had counted (`numLines`) must still be there.
   * @throws VigorlError("input") naming a damaged line, or a file that lost some
   */
  async rewind(step: number, numLines: Readonly<Record<string, number>> = {}): Promise<void> {
    for (const name of logs) {
      const file = this.file(name);
      const is = await truncateJsonl(file, (row, place) => stepOf(row, place) <= step);
      const was = numLines[name] ?? 0;
      if (is >= was) continue;
      throw new VigorlError(
        "input",
        `${file}: holds ${is} lines up to step ${step}, and held ${was} when that step was saved`,
        { hint: "restore the file from a copy, or start again with --overwrite" },
      );
    }
    for (const sink of this.sinks) await sink.rewind(step);
    await this.removeUnfinished();
  }

  /** The run with other inputs; its manifest says what became of those it had. */
  async withInputs(
    dataHashes: Readonly<Record<string, string>>,
    changes: readonly string[],
  ): Promise<RunFolder> {
    const inputChanges = [...(this.manifest.inputChanges ?? []), ...changes];
    const manifest = { ...this.manifest, dataHashes: { ...dataHashes }, inputChanges };
    await writeManifest(this.path, manifest);
    return new RunFolder(this.path, manifest, this.lock);
  }

  /** The run with another recipe, which its manifest keeps from now on. */
  async withRecipe(recipe: unknown): Promise<RunFolder> {
    const { cwd = "." } = this.manifest;
    // A project that was moved is gone on with from where it is now.
    const manifest = { ...this.manifest, recipe, cwd: existsSync(cwd) ? cwd : process.cwd() };
    await writeManifest(this.path, manifest);
    return new RunFolder(this.path, manifest, this.lock);
  }

  /** Removes what a killed process left half-written, wherever a run writes in one step. */
  async removeUnfinished(): Promise<void> {
    await removeUnfinished(this.path);
    for (const name of ["checkpoints", "images", "stages"] as const)
      await removeUnfinished(this.file(name));
  }
}

/** Files with a line a step or more. */
const logs = ["metrics.jsonl", "traces.jsonl"] as const;

function stepOf(row: unknown, place: string): number {
  const parsed = z.looseObject({ step: z.number() }).safeParse(row);
  if (parsed.success) return parsed.data.step;
  throw new VigorlError("input", `${place}: a line without its step`, {
    hint: "restore the file from a copy, or start again with --overwrite",
  });
}

/**
 * Makes the folder of a new run and writes its manifest. A folder that holds anything is refused with
 * VigorlError("usage"): a run, unless `overwrite`, which removes what that run made; things that no
 * run made, whatever is asked.
 */
export async function createRunFolder(
  path: string,
  description: RunDescription,
  options: { readonly overwrite?: boolean } = {},
): Promise<RunFolder> {
  try {
    if (await readManifest(path)) {
      if (options.overwrite !== true) {
        throw holdsRun(path);
      }
      await removeRun(path, isRunFolder);
    } else await refuseStrangers(path);
    await mkdir(inside(path, "checkpoints"), { recursive: true });
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
    engine: description.engine,
    ...(description.chat === undefined ? {} : { chat: description.chat }),
    versions: { vigorl: ownVersion(), node: process.version, ...description.versions },
    gitCommit: await gitCommit(),
    dataHashes: { ...description.dataHashes },
    ...(description.notes?.length ? { notes: [...description.notes] } : {}),
    ...(description.command === undefined ? {} : { command: description.command }),
    cwd: process.cwd(),
  };
  const run = new RunFolder(path, manifest);
  await writeManifest(path, manifest);
  return run;
}

async function writeManifest(path: string, manifest: Manifest): Promise<void> {
  const text = `${JSON.stringify(manifest, null, 2)}\n`;
  await writeFileAtomic(inside(path, "manifest.json"), text);
}

/** What is said to a new run where another one is. */
export function holdsRun(path: string): VigorlError {
  return new VigorlError("usage", `${path}: holds a run already`, {
    hint: "continue it with --resume, start it again with --overwrite, or choose another --name",
  });
}

/** Opens the folder of a run that was started before. Throws VigorlError("input" | "io"). */
export async function openRunFolder(path: string): Promise<RunFolder> {
  const manifest = await readManifest(path);
  if (manifest !== null) return new RunFolder(path, manifest);
  throw new VigorlError("input", `${path}: holds no run (no manifest.json)`, {
    hint: "name the folder that a verb wrote, such as runs/nano",
  });
}

/** True where `path` holds a run. */
export async function isRunFolder(path: string): Promise<boolean> {
  return readManifest(path).then(
    (manifest) => manifest !== null,
    () => false,
  );
}

/** The manifest in a folder, null where there is none. Throws VigorlError where it is not ours. */
async function readManifest(path: string): Promise<Manifest | null> {
  const file = join(path, "manifest.json");
  let text: string;
  try {
    text = await readText(file);
  } catch (error) {
    if (errno(error) === "ENOENT") return null;
    throw ioError(error, file);
  }
  try {
    return parseAt(file, JSON.parse(text), manifestSchema);
  } catch (error) {
    throw new VigorlError("input", `${file}: not the manifest of a run`, {
      hint: "choose another --name; where the folder is a damaged run, remove it yourself",
      cause: error,
    });
  }
}

/** A start leaves a lock, and a killed one `checkpoints` and half files; anything else is not of a run. */
async function refuseStrangers(path: string): Promise<void> {
  const entries = await readdir(path).catch((error: unknown) => {
    if (errno(error) === "ENOENT") return [];
    throw error;
  });
  const ours = ["checkpoints", lockFile];
  const strange = entries.find((name) => !ours.includes(name) && !isUnfinished(name));
  if (strange === undefined) return;
  throw new VigorlError("usage", `${path}: is no run and holds other things (${strange}, …)`, {
    hint: "choose another --name or --out",
  });
}

/** Commit of the source tree this program runs from; null where it is no checkout. */
export async function gitCommit(): Promise<string | null> {
  const options = { cwd: ownPath("."), timeout: 10_000 };
  try {
    // An installed package may lie inside a repository of somebody else.
    const prefix = await execFileAsync("git", ["rev-parse", "--show-prefix"], options);
    if (prefix.stdout.trim() !== "") return null;
    const head = await execFileAsync("git", ["rev-parse", "HEAD"], options);
    const status = await execFileAsync("git", ["status", "--porcelain", "-uno"], options);
    return `${head.stdout.trim()}${status.stdout.trim() === "" ? "" : "-dirty"}`;
  } catch {
    return null;
  }
}

const execFileAsync = promisify(execFile);
