/**
 * Code of a user's own: a module with a default export, named by its path in a recipe, or the export
 * itself in a program. JavaScript (.js, .mjs) is read everywhere, TypeScript where this program runs
 * from its sources, where Node reads it (22.18 and later), or where `tsx` is installed beside it.
 */
import { existsSync, readFileSync } from "node:fs";
import { createRequire } from "node:module";
import { dirname, join, resolve } from "node:path";
import { pathToFileURL } from "node:url";
import { z } from "zod";
import { pathText } from "./config-paths.ts";
import { errno, VigorlError } from "./errors.ts";
import { findPath } from "./paths.ts";

/** Schema of a key that names a module: its path, or what it would export, a function by default. */
export function ownModule<T extends object>(
  about: string,
  isCode: (value: unknown) => boolean = (value) => typeof value === "function",
) {
  return z.union([pathText(about), z.custom<T>(isCode, "the path of a module")]).describe(about);
}

/**
 * The default export of a module, or what stands in its place. `key` names it in messages.
 * @throws VigorlError("input") where it is missing, cannot be read or run, or exports nothing by default
 */
export async function loadOwn<T extends object>(key: string, code: string | T): Promise<T> {
  if (typeof code !== "string") return code;
  const path = resolve(findPath(code));
  if (!existsSync(path))
    throw new VigorlError("input", `${key}: ${code}: no such module`, {
      hint: "paths in a recipe are relative to the recipe",
    });
  let loaded: { readonly default?: unknown };
  try {
    loaded = await importModule(path);
  } catch (cause) {
    if (cause instanceof VigorlError) throw cause;
    const text = cause instanceof Error ? cause.message : String(cause);
    throw new VigorlError("input", `${key}: ${code} cannot be loaded: ${text}`, { cause });
  }
  const { default: found } = loaded;
  if (typeof found === "function" || (typeof found === "object" && found !== null))
    return found as T;
  throw new VigorlError("input", `${key}: ${code} has no default export`, {
    hint: "write `export default` before the function or object",
  });
}

/** What is read of tsx's package.json. */
const tsxSchema = z.object({
  exports: z.object({
    "./esm/api": z.object({ import: z.object({ default: z.string() }) }),
  }),
});

async function importModule(path: string): Promise<{ readonly default?: unknown }> {
  const url = pathToFileURL(path).href;
  try {
    return (await import(/* @vite-ignore */ url)) as { default?: unknown };
  } catch (error) {
    if (errno(error) !== "ERR_UNKNOWN_FILE_EXTENSION") throw error;
  }
  let tsx: { tsImport(url: string, parent: string): Promise<{ default?: unknown }> };
  try {
    // Resolved from the module: of what is beside it, `import` would find only what is beside us.
    const manifest = createRequire(path).resolve("tsx/package.json");
    const { exports } = tsxSchema.parse(JSON.parse(readFileSync(manifest, "utf8")));
    const api = join(dirname(manifest), exports["./esm/api"].import.default);
    tsx = (await import(/* @vite-ignore */ pathToFileURL(api).href)) as typeof tsx;
  } catch (cause) {
    throw new VigorlError("missing", `${path}: Node ${process.version} reads no TypeScript`, {
      hint: "npm install tsx beside it, use Node 22.18 or later, or write the module as .mjs",
      cause,
    });
  }
  const { default: found, ...rest } = await tsx.tsImport(url, pathToFileURL(path).href);
  return { ...rest, default: found };
}
