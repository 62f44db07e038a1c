/** What a run will hold, in words: before it starts, and as the answer of `--dry-run`. */
import type { Learning, Memory } from "./engine/kind.ts";
import type { Recipe } from "./recipe.ts";

const GIB = 2 ** 30;

/** What `sft` or `rl` of a recipe will learn. */
export function learningOf(recipe: Recipe, verb: "sft" | "rl"): Learning {
  const { trainable, moments, masters, stateOn } = recipe[verb];
  const reference = verb === "rl" && recipe.rl.klCoef > 0;
  const own = { trainable, moments, masters, stateOn, reference };
  return recipe.lora === null ? own : { ...own, lora: recipe.lora };
}

/** Bytes of everything together. */
export function totalBytes({ shares }: Memory): number {
  return shares.reduce((sum, { bytes }) => sum + bytes, 0);
}

export function fits(memory: Memory): boolean {
  return totalBytes(memory) <= memory.freeBytes;
}

/** One line a share, then the sum; where it does not fit, the keys that make it less, largest first. */
export function memoryText(memory: Memory): string {
  const lines = memory.shares.map(({ what, bytes }) => `${gib(bytes).padStart(8)} GiB  ${what}`);
  const { device, freeBytes } = memory;
  lines.push(
    `${gib(totalBytes(memory)).padStart(8)} GiB  together; ${device} has ${gib(freeBytes)} free`,
  );
  if (fits(memory)) return lines.join("\n");
  const largest = [...memory.shares].sort((a, b) => b.bytes - a.bytes);
  const keys = [...new Set(largest.flatMap(({ keys: own }) => (own === "" ? [] : [own])))];
  return [
    ...lines,
    "It does not fit. What makes it less, the largest share first:",
    ...keys.map((key) => `  ${key}`),
  ].join("\n");
}

/** The sum, for the start of a run. */
export function memoryLine(memory: Memory): string {
  const { device, freeBytes } = memory;
  const line = `memory: about ${gib(totalBytes(memory))} GiB; ${device} has ${gib(freeBytes)} free`;
  return fits(memory) ? line : `${line}; see --dry-run`;
}

function gib(bytes: number): string {
  return (bytes / GIB).toPrecision(3);
}
