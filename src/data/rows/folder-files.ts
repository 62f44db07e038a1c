/**
 * The files below a folder that somebody downloaded or unpacked: a snapshot of a hub's cache is links to
 * files elsewhere, which count as files. Bounded, so that a home folder named by mistake is told.
 */
import { readdir, stat } from "node:fs/promises";
import { basename, join } from "node:path";
import { VigorlError } from "../../core/errors.ts";
import { ioError } from "../../core/files.ts";

const maxDepth = 8;
const maxFiles = 500_000;

export class FolderFiles {
  readonly folder: string;
  /** Paths relative to the folder, with `/`, sorted. */
  readonly paths: readonly string[];
  private readonly byName = new Map<string, string[]>();

  constructor(folder: string, paths: readonly string[]) {
    this.folder = folder;
    this.paths = paths;
    for (const path of paths) {
      const name = basename(path);
      const same = this.byName.get(name);
      if (same === undefined) this.byName.set(name, [path]);
      else same.push(path);
    }
  }

  /** Paths on disk of the files that a pattern matches. */
  matching(pattern: RegExp): string[] {
    return this.paths.filter((path) => pattern.test(path)).map((path) => join(this.folder, path));
  }

  /**
   * The file that rows call so: a path that ends in theirs, or the only file of that name.
   * @throws VigorlError("input") where none is found, or several are
   */
  find(name: string, place: string): string {
    const wanted = name.replaceAll("\\", "/").replace(/^\.?\//, "");
    const same = this.byName.get(basename(wanted)) ?? [];
    const exact = same.filter((path) => path === wanted || path.endsWith(`/${wanted}`));
    const found = exact.length > 0 ? exact : same;
    if (found.length === 1) return join(this.folder, found[0]);
    const what = found.length === 0 ? "is not" : `is ${found.length} times`;
    throw new VigorlError("input", `${place}: the picture ${name} ${what} under ${this.folder}`, {
      hint:
        found.length === 0
          ? "unpack the published archive of pictures there"
          : `keep one of ${found.slice(0, 3).join(", ")}`,
    });
  }
}

/** Lists a folder. @throws VigorlError("input" | "io") where it is none, or far too large */
export async function listFolder(folder: string): Promise<FolderFiles> {
  const entry = await stat(folder).catch((error: unknown) => {
    throw ioError(error, folder);
  });
  if (!entry.isDirectory())
    throw new VigorlError("input", `${folder}: is a file; name the folder that holds the data`);
  const paths: string[] = [];
  await walk(folder, "", 0, paths);
  return new FolderFiles(folder, paths.sort());
}

async function walk(folder: string, under: string, depth: number, paths: string[]): Promise<void> {
  if (depth > maxDepth) return;
  const entries = await readdir(join(folder, under), { withFileTypes: true }).catch(
    (error: unknown) => {
      throw ioError(error, join(folder, under));
    },
  );
  for (const entry of entries) {
    if (entry.name.startsWith(".")) continue;
    const path = under === "" ? entry.name : `${under}/${entry.name}`;
    const isFile = entry.isFile() || (entry.isSymbolicLink() && (await leadsToFile(folder, path)));
    if (isFile) paths.push(path);
    else if (entry.isDirectory()) await walk(folder, path, depth + 1, paths);
    if (paths.length > maxFiles)
      throw new VigorlError("input", `${folder}: holds more than ${maxFiles} files`, {
        hint: "name the folder of one benchmark",
      });
  }
}

async function leadsToFile(folder: string, path: string): Promise<boolean> {
  return stat(join(folder, path)).then(
    (target) => target.isFile(),
    () => false,
  );
}
