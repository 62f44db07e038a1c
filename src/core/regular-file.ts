/**
 * Reading what others give us: regular files of a bounded size. A named pipe or a device in place of
 * a picture, a dataset or a recipe would hang the program or fill its memory, so it is refused by name
 * before a byte is read; a pipe is opened without waiting for a writer.
 */
import { closeSync, constants, fstatSync, openSync, readFileSync, type Stats } from "node:fs";
import { open, type FileHandle } from "node:fs/promises";
import { VigorlError } from "./errors.ts";
import { ioError } from "./files.ts";

const flags = constants.O_RDONLY | constants.O_NONBLOCK;

/** Opens a regular file for reading. @throws VigorlError("io") where it is none or cannot be opened. */
export async function openRegular(path: string): Promise<{ handle: FileHandle; bytes: number }> {
  let handle: FileHandle;
  try {
    handle = await open(path, flags);
  } catch (error) {
    throw openError(error, path);
  }
  try {
    return { handle, bytes: checked(await handle.stat(), path, Infinity) };
  } catch (error) {
    await handle.close();
    throw ioError(error, path);
  }
}

/** Reads a regular file of at most `maxBytes`. @throws VigorlError("io" | "input") */
export async function readRegular(path: string, maxBytes: number): Promise<Buffer> {
  const { handle, bytes } = await openRegular(path);
  try {
    bounded(bytes, path, maxBytes);
    return await handle.readFile();
  } catch (error) {
    throw ioError(error, path);
  } finally {
    await handle.close();
  }
}

/**
 * The text of a regular file. System errors come as they are, for callers to whom a missing file says
 * something. @throws VigorlError("io" | "input") where it is no regular file, or too large
 */
export async function readText(path: string, maxBytes = 1 << 28): Promise<string> {
  const handle = await open(path, flags);
  try {
    checked(await handle.stat(), path, maxBytes);
    return await handle.readFile("utf8");
  } finally {
    await handle.close();
  }
}

/** As `readRegular`, at once. */
export function readRegularSync(path: string, maxBytes: number): Buffer {
  const fd = openRegularSync(path);
  try {
    bounded(fstatSync(fd).size, path, maxBytes);
    return readFileSync(fd);
  } catch (error) {
    throw ioError(error, path);
  } finally {
    closeSync(fd);
  }
}

/** As `openRegular`, at once: a file descriptor. */
export function openRegularSync(path: string): number {
  let fd: number;
  try {
    fd = openSync(path, flags);
  } catch (error) {
    throw openError(error, path);
  }
  try {
    checked(fstatSync(fd), path, Infinity);
    return fd;
  } catch (error) {
    closeSync(fd);
    throw error;
  }
}

/** True for the text that Git leaves in place of a large file that was not downloaded. */
export function isLfsPointer(start: string | Uint8Array): boolean {
  const text = typeof start === "string" ? start : Buffer.from(start.subarray(0, 64)).toString();
  return text.startsWith("version https://git-lfs");
}

export function lfsPointerError(file: string): VigorlError {
  return new VigorlError("input", `${file}: is a Git LFS pointer, not the file itself`, {
    hint: "fetch the file with `git lfs pull`, or download it",
  });
}

function checked(entry: Stats, path: string, maxBytes: number): number {
  if (!entry.isFile()) throw notRegular(path, kindOf(entry));
  return bounded(entry.size, path, maxBytes);
}

function bounded(bytes: number, path: string, maxBytes: number): number {
  if (bytes <= maxBytes) return bytes;
  throw new VigorlError(
    "input",
    `${path}: has ${bytes.toLocaleString("en")} bytes, more than the ${maxBytes.toLocaleString("en")} that are read`,
    { hint: "check that it is the file you mean" },
  );
}

function kindOf(entry: Stats): string {
  if (entry.isDirectory()) return "a folder";
  if (entry.isFIFO()) return "a named pipe";
  if (entry.isSocket()) return "a socket";
  return "a device";
}

function notRegular(path: string, kind: string): VigorlError {
  return new VigorlError("io", `${path}: is ${kind}, not a file`, { hint: "name one file" });
}

/** A socket cannot be opened at all, and says so by ENXIO. */
function openError(error: unknown, path: string): unknown {
  const isSocket = error instanceof Error && "code" in error && error.code === "ENXIO";
  return isSocket ? notRegular(path, "a socket or a device") : ioError(error, path);
}
