/** What comes with vigorl and where it lies: recipes, the nano model, the version. */
import { existsSync, readFileSync } from "node:fs";
import { createRequire } from "node:module";
import { dirname, isAbsolute, join, relative, resolve } from "node:path";
import { fileURLToPath } from "node:url";
import { z } from "zod";
import { VigorlError } from "./errors.ts";

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

/**
 * A path inside vigorl's own folder, which holds `models/`, `recipes/`, `native/` and the code. Where a
 * bundler has moved this file elsewhere, it is the package that the bundle's folder resolves.
 * @throws VigorlError("missing") where there is none.
 */
export function ownPath(path: string): string {
  return join((ownFolder ??= findOwnFolder()), path);
}

/** `require` as vigorl's own files see it: for files of its dependencies, and for native modules. */
export function ownRequire(): NodeJS.Require {
  return createRequire(ownPath("package.json"));
}

/** True where the code that runs is TypeScript, as in a checkout. */
export const fromSources = here().endsWith(".ts");

/** How people call the program: the script of a checkout, or the command of an installed package. */
export const programName = fromSources ? "./vigorl" : "vigorl";

let ownFolder: string | undefined;

function findOwnFolder(): string {
  const folder = resolve(dirname(here()), "../..");
  if (/^(src|dist)[/\\]core[/\\]paths\.[jt]s$/.test(relative(folder, here()))) return folder;
  try {
    return dirname(createRequire(here()).resolve("vigorl/package.json"));
  } catch (cause) {
    throw new VigorlError(
      "missing",
      `vigorl was bundled into ${here()}, and its own files (models, native code) are not beside it`,
      {
        hint: "install vigorl where the bundle runs, or keep it out of the bundle (--external:vigorl)",
        cause,
      },
    );
  }
}

/** The file that runs: this one, or a bundle of it. CommonJS bundles know no URL, but the script's path. */
function here(): string {
  const url: string | undefined = import.meta.url;
  return url === undefined ? resolve(process.argv[1] ?? ".") : fileURLToPath(url);
}
