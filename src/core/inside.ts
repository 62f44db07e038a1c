/**
 * Names that become paths. Recipes, datasets, traces and run folders are passed on between people, so
 * what they call a task, an arm, a record or a picture may be anything. One rule says what a name is,
 * and one function joins names to a folder and makes sure that the result lies in it: nothing else in
 * the program builds a path from a name that it was given.
 */
import { lstatSync, readlinkSync, realpathSync } from "node:fs";
import { join, relative, sep } from "node:path";
import { z } from "zod";
import { VigorlError } from "./errors.ts";
import { hashText, ioError } from "./files.ts";

/** Most file systems end a name at 255 bytes; what is written beside it needs some of them. */
const maxNameBytes = 180;

const separator = /[/\\]/;
const invisible = /[\p{Cc}\p{Cf}\p{Cs}\p{Zl}\p{Zp}]/u;

/** Why a text is no name for a file or folder, in words that follow "must"; null where it is one. */
export function nameProblem(text: string): string | null {
  if (text.trim() === "") return "not be empty";
  if (text !== text.trim()) return "not begin or end with a space";
  if (text.startsWith("."))
    return "not begin with a dot (it would be hidden, or lie outside the folder)";
  if (separator.test(text))
    return "not hold a slash or backslash (it might lie outside the folder)";
  if (invisible.test(text)) return "not hold control or invisible characters";
  if (Buffer.byteLength(text) > maxNameBytes) return `be at most ${maxNameBytes} bytes long`;
  return null;
}

/** Schema of a name that becomes a file or folder. */
export const nameSchema = z.string().superRefine((text, context) => {
  const problem = nameProblem(text);
  if (problem !== null) context.addIssue({ code: "custom", message: `it must ${problem}` });
});

/** A name made of any text: the text itself where it is one, else cleaned and told apart by a hash. */
export function nameFrom(text: string): string {
  if (nameProblem(text) === null) return text;
  const clean = text
    .replaceAll(/[^\p{L}\p{N}_.-]+/gu, "_")
    .replace(/^[._]+/, "")
    .slice(0, 40);
  return `${clean}${clean === "" ? "" : "-"}${hashText(text).slice(0, 12)}`;
}

/**
 * Joins names to a folder. @throws VigorlError("input") where one is no name; links are not looked at,
 * since model folders and datasets may be made of links.
 */
export function joinNames(folder: string, ...names: readonly string[]): string {
  for (const name of names) {
    const problem = nameProblem(name);
    if (problem === null) continue;
    throw new VigorlError("input", `${folder}: ${JSON.stringify(name)} must ${problem}`, {
      hint: "it becomes a file or folder there; choose another name",
    });
  }
  return join(folder, ...names);
}

/**
 * The path of what is written, replaced or removed in `folder`: joins names as `joinNames` does, and
 * refuses a symbolic link on the way that leads out of the folder. The folder itself may be a link.
 */
export function inside(folder: string, ...names: readonly string[]): string {
  const path = joinNames(folder, ...names);
  let reached = folder;
  for (const name of names) {
    reached = join(reached, name);
    if (isLink(reached) && leadsOut(folder, reached)) {
      throw new VigorlError(
        "input",
        `${reached}: is a link that leads out of ${folder}, to ${readlinkSync(reached)}`,
        { hint: "nothing is written or removed behind it; put a folder in its place" },
      );
    }
  }
  return path;
}

function isLink(path: string): boolean {
  try {
    return lstatSync(path, { throwIfNoEntry: false })?.isSymbolicLink() === true;
  } catch (error) {
    throw ioError(error, path);
  }
}

function leadsOut(folder: string, link: string): boolean {
  let target: string;
  try {
    target = realpathSync(link);
  } catch {
    return true; // it leads nowhere, or in a circle
  }
  const way = relative(realpathSync(folder), target);
  return way === "" || way === ".." || way.startsWith(`..${sep}`);
}
