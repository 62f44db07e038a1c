/** What comes with vigorl and where it lies: recipes, the nano model, the version. */
import { existsSync, readFileSync } from "node:fs";
import { isAbsolute } from "node:path";
import { fileURLToPath } from "node:url";
import { z } from "zod";

/** A path as given, or relative to vigorl's own folder where only that one exists. */
export function findPath(path: string): string {
  if (existsSync(path) || isAbsolute(path)) return path;
  const own = ownPath(path);
  return existsSync(own) ? own : path;
}

/** The version in package.json. */
export function ownVersion(): string {
  const text = readFileSync(ownPath("package.json"), "utf8");
  return z.object({ version: z.string() }).parse(JSON.parse(text)).version;
}

function ownPath(path: string): string {
  return fileURLToPath(new URL(`../../${path}`, import.meta.url));
}
