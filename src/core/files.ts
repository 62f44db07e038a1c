/**
 * Files that are either there in full or not there at all: written beside, flushed to the disk,
 * then renamed. A full disk or a missing permission leaves what stood there before and says so.
 */
import { createHash, randomBytes } from "node:crypto";
import { createReadStream } from "node:fs";
import { mkdir, open, readdir, rename, rm } from "node:fs/promises";
import { dirname, join, resolve } from "node:path";
import { errno, VigorlError } from "./errors.ts";

/**
 * Replaces `file` by `data` in one step; makes its folder where it is missing.
 * Throws VigorlError("io") and leaves the old file as it was.
 */
export async function writeFileAtomic(file: string, data: string | Uint8Array): Promise<void> {
  const beside = besideOf(file);
  try {
    await mkdir(dirname(file), { recursive: true });
    const handle = await open(beside, "w");
    try {
      await handle.writeFile(data);
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
 * Lets `fill` write a folder beside `folder`, flushes every file in it and puts it in place. What
 * stood there before is gone only after the new one is complete. Throws VigorlError("io") for
 * system errors and whatever else `fill` throws, leaving the old folder.
 */
export async function replaceFolderAtomic(
  folder: string,
  fill: (beside: string) => Promise<void>,
): Promise<void> {
  const beside = besideOf(folder);
  const old = `${beside}.old`;
  try {
    await mkdir(beside, { recursive: true });
    await fill(beside);
    await syncTree(beside);
    if (await renameIfPresent(folder, old)) {
      await rename(beside, folder);
      await rm(old, { recursive: true, force: true });
    } else {
      await rename(beside, folder);
    }
    await syncFolder(dirname(folder));
  } catch (error) {
    await rm(beside, { recursive: true, force: true }).catch(() => undefined);
    throw ioError(error, folder);
  }
}

/** Removes what a killed process left half-written in `folder` by the two functions above. */
export async function removeUnfinished(folder: string): Promise<void> {
  const entries = await readdir(folder).catch(() => []);
  for (const entry of entries) {
    if (isUnfinished(entry)) await rm(join(folder, entry), { recursive: true, force: true });
  }
}

/** True for the name of something that the two functions above were killed in the middle of. */
export function isUnfinished(name: string): boolean {
  return unfinished.test(name);
}

/** SHA-256 of a file, in hex. Throws VigorlError("io"). */
export async function hashFile(file: string): Promise<string> {
  const hash = createHash("sha256");
  try {
    for await (const chunk of createReadStream(file)) hash.update(chunk as Buffer);
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
  return new VigorlError("io", `${path}: ${reason} (${code})`, {
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
  EMFILE: ["too many open files", "raise the limit with `ulimit -n 4096`"],
};

const unfinished = /\.[0-9a-f]{8}\.writing(\.old)?$/;

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
