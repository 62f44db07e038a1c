/** Where two JSON values differ, told as one would tell it to the owner of a recipe. */
import { VigorlError } from "./errors.ts";
import { programName } from "./paths.ts";

/** `rl.groupSize was 8, is 4` for each key that differs, deepest keys, in the order of the first. */
export function differencesOf(before: unknown, now: unknown, path = ""): string[] {
  if (isObject(before) && isObject(now)) {
    const keys = new Set([...Object.keys(before), ...Object.keys(now)]);
    return [...keys].flatMap((key) =>
      differencesOf(before[key], now[key], path === "" ? key : `${path}.${key}`),
    );
  }
  const [was, is] = [before, now].map((value) => JSON.stringify(value) ?? "absent");
  return was === is ? [] : [`${path} was ${short(was)}, is ${short(is)}`];
}

/** Those differences that are at none of these keys, nor below one. */
export function differencesBut(free: readonly string[], before: unknown, now: unknown): string[] {
  return differencesOf(before, now).filter((line) => {
    const [key] = line.split(" ", 1);
    return !free.some((allowed) => key === allowed || key.startsWith(`${allowed}.`));
  });
}

/** @throws VigorlError("usage") for a run that is not to go on with another recipe, naming what differs */
export function refuseRecipe(path: string, changes: readonly string[]): never {
  const shown = changes.slice(0, 8).map((change) => `\n  ${change}`);
  const more = changes.length > shown.length ? `\n  and ${changes.length - shown.length} more` : "";
  throw new VigorlError(
    "usage",
    `${path}: was started with another recipe:${changes.length === 1 ? ` ${changes[0]}` : `${shown.join("")}${more}`}`,
    {
      hint: `${programName} resume ${path} goes on with its own; or start again with --overwrite`,
    },
  );
}

function isObject(value: unknown): value is Record<string, unknown> {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}

function short(text: string): string {
  return text.length > 60 ? `${text.slice(0, 57)}…` : text;
}
