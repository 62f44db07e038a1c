/** What a run will hold, in words: before it starts, and as the answer of `--dry-run`. */
import type { Learning, Memory } from "./engine/kind.ts";
import type { Recipe } from "./recipe.ts";

const GIB = 2 ** 30;

/** What `sft` or `rl` of a recipe will learn. */
export function learningOf(recipe: Recipe, verb: "sft" | "rl"): Learning {
  const { trainable, moments, masters, stateOn } = recipe[verb];
  const reference = verb === "rl" && recipe.rl.klCoef > 0;
  const samples = verb === "rl" || samplesInSft(recipe);
  const own = { trainable, moments, masters, stateOn, reference, samples };
  return recipe.lora === null ? own : { ...own, lora: recipe.lora };
}

/** Whether `sft` plays its examples or validations with what it trains. */
function samplesInSft({ sft }: Recipe): boolean {
  const plays = sft.chains === undefined && sft.from === "collect";
  return sft.validate.every !== null || (plays && sft.collect.engine === undefined);
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
  return [...lines, ...adviceOn(memory)].join("\n");
}

/** The sum, for the start of a run; where it does not fit, the keys that make it less. */
export function memoryLines(memory: Memory): string[] {
  const { device, freeBytes } = memory;
  const line = `memory: about ${gib(totalBytes(memory))} GiB; ${device} has ${gib(freeBytes)} free`;
  return [line, ...adviceOn(memory)];
}

/** Says what a stage will take, as it starts. */
export function sayMemory(
  { quiet }: { readonly quiet: boolean },
  { memory }: { readonly memory: Memory | undefined },
): void {
  if (quiet || memory === undefined) return;
  for (const line of memoryLines(memory)) process.stderr.write(`${line}\n`);
}

/** Keys in the order in which they are worth changing; nothing where it fits. */
function adviceOn(memory: Memory): string[] {
  if (fits(memory)) return [];
  const largest = [...memory.shares].sort((a, b) => b.bytes - a.bytes);
  const keys = [...new Set(largest.flatMap(({ keys: own }) => (own === "" ? [] : [own])))];
  return [
    "It does not fit. What makes it less, the largest share first:",
    ...keys.map((key) => `  ${key}`),
  ];
}

function gib(bytes: number): string {
  return (bytes / GIB).toPrecision(3);
}
