/**
 * Files that are either there in full or not there at all: written beside, flushed to the disk,
 * then renamed. A full disk or a missing permission leaves what stood there before and says so.
 * What is written into a folder that is itself beside its place is written once: it is flushed and
 * put in place together with that folder.
 */
import { createHash, randomBytes } from "node:crypto";
import { constants } from "node:fs";
import { mkdir, open, readdir, rename, rm, writeFile } from "node:fs/promises";
import { basename, dirname, join, resolve } from "node:path";
import { errno, VigorlError } from "./errors.ts";

/** What goes into a file; parts are written one behind the other, so that they need not fit in memory. */
export type FileData = string | Uint8Array | AsyncIterable<Uint8Array> | Iterable<string>;

/**
 * Replaces `file` by `data` in one step; makes its folder where it is missing.
 * Throws VigorlError("io") and leaves the old file as it was.
 */
export async function writeFileAtomic(file: string, data: FileData): Promise<void> {
  if (isBeside(file)) return writeInPlace(file, data);
  const beside = besideOf(file);
  try {
    await mkdir(dirname(file), { recursive: true });
    const handle = await open(beside, "w");
    try {
      await writeFile(handle, data);
      await handle.sync();
    } finally {
      await handle.close();
    }
    await rename(beside, file);
    await syncFolder(dirname(file));
  } catch (error) {
    await rm(beside, { force: true }).catch(() => undefined);
    throw ioError(error, file);
  }
}

/**
 * Lets `fill` write a folder beside `folder`, flushes every file in it and puts it in place. At every
 * moment one whole copy is on the disk, and `settleFolder` or `wholeFolder` finds it after a kill: the
 * old one until the new one is complete, then the new one. Throws VigorlError("io") for system errors
 * and whatever else `fill` throws, leaving the old folder in place.
 */
export async function replaceFolderAtomic(
  folder: string,
  fill: (beside: string) => Promise<void>,
): Promise<void> {
  if (isBeside(folder)) {
    await mkdir(folder, { recursive: true });
    return fill(folder);
  }
  const beside = besideOf(folder);
  const old = `${beside}.old`;
  try {
    await settleFolder(folder);
    await mkdir(beside, { recursive: true });
    await fill(beside);
    await syncTree(beside);
  } catch (error) {
    await rm(beside, { recursive: true, force: true }).catch(() => undefined);
    throw ioError(error, folder);
  }
  try {
    const hadOld = await renameIfPresent(folder, old);
    try {
      await rename(beside, folder);
    } catch (error) {
      if (hadOld) await rename(old, folder);
      await rm(beside, { recursive: true, force: true });
      throw error;
    }
    await syncFolder(dirname(folder));
    if (hadOld) await rm(old, { recursive: true, force: true });
  } catch (error) {
    throw ioError(error, folder);
  }
}

/**
 * Ends what a kill left in the middle of `replaceFolderAtomic`: where `folder` is away and its old copy
 * is still there, the new copy is complete and takes its place, or else the old one goes back.
 */
export async function settleFolder(folder: string): Promise<void> {
  const whole = await wholeFolder(folder);
  if (whole !== folder) await rename(whole, folder);
}

/** Where the whole copy of a folder lies, for those who only read: the path itself but after a kill. */
export async function wholeFolder(folder: string): Promise<string> {
  const names = await readdir(dirname(folder)).catch((): string[] => []);
  const name = basename(folder);
  if (names.includes(name)) return folder;
  const left = names.find((entry) => replaced.exec(entry)?.[1] === name);
  if (left === undefined) return folder;
  const fresh = left.replace(/\.old$/, "");
  return join(dirname(folder), names.includes(fresh) ? fresh : left);
}

/** Names of folders among `names`, those too that a kill left in the middle of being replaced. */
export function wholeNames(names: readonly string[]): string[] {
  const left = names.flatMap((name) => replaced.exec(name)?.[1] ?? []);
  return [...new Set([...names.filter((name) => !isUnfinished(name)), ...left])];
}

/** Settles, then removes what a killed process left half-written in `folder` by the functions above. */
export async function removeUnfinished(folder: string): Promise<void> {
  const entries = await readdir(folder).catch((): string[] => []);
  for (const name of wholeNames(entries))
    if (!entries.includes(name)) await settleFolder(join(folder, name));
  for (const entry of await readdir(folder).catch((): string[] => []))
    if (isUnfinished(entry)) await rm(join(folder, entry), { recursive: true, force: true });
}

/** True for the name of something that the two functions above were killed in the middle of. */
export function isUnfinished(name: string): boolean {
  return unfinished.test(name);
}

/** SHA-256 of a file, in hex. Throws VigorlError("io"). */
export async function hashFile(file: string): Promise<string> {
  const hash = createHash("sha256");
  try {
    const handle = await open(file, constants.O_RDONLY | constants.O_NONBLOCK);
    if (!(await handle.stat()).isFile()) {
      await handle.close();
      throw new VigorlError("io", `${file}: is no regular file`);
    }
    for await (const chunk of handle.createReadStream()) hash.update(chunk as Buffer);
  } catch (error) {
    throw ioError(error, file);
  }
  return hash.digest("hex");
}

/** SHA-256 of a text or of bytes, in hex. */
export function hashText(data: string | Uint8Array): string {
  return createHash("sha256").update(data).digest("hex");
}

/** Turns a system error into VigorlError("io") that names `path` and the fix; others pass. */
export function ioError(error: unknown, path: string): unknown {
  const code = errno(error);
  if (code === undefined || error instanceof VigorlError) return error;
  const known = reasons[code];
  const reason = known?.[0] ?? (error as Error).message;
  const hint = known?.[1];
  const shown = path.replaceAll(/\.[0-9a-f]{8}\.writing(?=\/|$)/g, "");
  return new VigorlError("io", `${shown}: ${reason} (${code})`, {
    cause: error,
    ...(hint === undefined ? {} : { hint }),
  });
}

const reasons: Record<string, [reason: string, hint: string]> = {
  ENOSPC: ["the disk is full", "free some space, or write to another disk with --out"],
  EDQUOT: ["the disk quota is used up", "free some space, or write to another disk with --out"],
  EACCES: ["permission denied", "change the permissions, or choose another folder with --out"],
  EPERM: ["the operation is not permitted", "choose another folder with --out"],
  EROFS: ["the file system is read-only", "choose another folder with --out"],
  ENOENT: ["no such file or folder", "check the path"],
  ENOTDIR: ["a part of the path is a file, not a folder", "check the path"],
  EISDIR: ["is a folder, not a file", "check the path"],
  EEXIST: ["already exists", "remove it, or choose another name"],
  ENOTEMPTY: ["the folder is not empty", "remove it, or choose another name"],
  ELOOP: ["a link leads in a circle", "check the path"],
  ENAMETOOLONG: ["the name is too long", "choose a shorter name"],
  EIO: ["the disk failed", "check the disk; copy what is left to another"],
  ESTALE: ["the network file system lost the file", "try again with --resume"],
  ERR_INVALID_ARG_VALUE: ["no file is called so: a NUL character", "check the path"],
  EMFILE: ["too many open files", "raise the limit with `ulimit -n 4096`"],
};

const unfinished = /\.[0-9a-f]{8}\.writing(\.old)?$/;
const replaced = /^(.+)\.[0-9a-f]{8}\.writing\.old$/;

/** Whether a path lies in a folder that is being written beside its place, or is that folder. */
function isBeside(path: string): boolean {
  return resolve(path).split(/[\\/]/).some(isUnfinished);
}

async function writeInPlace(file: string, data: FileData): Promise<void> {
  try {
    await mkdir(dirname(file), { recursive: true });
    await writeFile(file, data);
  } catch (error) {
    throw ioError(error, file);
  }
}

function besideOf(path: string): string {
  return `${resolve(path)}.${randomBytes(4).toString("hex")}.writing`;
}

async function renameIfPresent(from: string, to: string): Promise<boolean> {
  try {
    await rename(from, to);
    return true;
  } catch (error) {
    if (errno(error) === "ENOENT") return false;
    throw error;
  }
}

async function syncTree(folder: string): Promise<void> {
  for (const entry of await readdir(folder, { withFileTypes: true })) {
    const path = join(folder, entry.name);
    if (entry.isDirectory()) await syncTree(path);
    else if (entry.isFile()) await syncPath(path);
  }
  await syncFolder(folder);
}

async function syncPath(path: string): Promise<void> {
  const handle = await open(path, "r");
  try {
    await handle.sync();
  } finally {
    await handle.close();
  }
}

/** Makes a rename in `folder` durable; some file systems cannot flush folders, which is no error. */
async function syncFolder(folder: string): Promise<void> {
  await syncPath(folder).catch(() => undefined);
}
