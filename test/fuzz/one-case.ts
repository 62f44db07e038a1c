/** One case of the fuzz, by target, seed and number, and what came of it. */
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { VigorlError } from "../../src/core/errors.ts";
import { stream } from "../../src/core/random.ts";
import type { Target } from "./target.ts";

/** A case that takes longer hangs. */
export const hangMs = 10_000;

/** What is wrong with a case, or null where it ended as it may. */
export async function faultOf(target: Target, seed: number, index: number): Promise<string | null> {
  const input = inputOf(target, seed, index);
  const folder = mkdtempSync(join(tmpdir(), "vigorl-fuzz-"));
  const file = join(folder, `input${target.extension}`);
  writeFileSync(file, input);
  let timer: NodeJS.Timeout | undefined;
  const hang = new Promise<string>((resolve) => {
    timer = setTimeout(() => resolve(`no end within ${hangMs / 1000} s`), hangMs);
  });
  const end = target.run(file, input).then(
    () => null,
    (error: unknown) =>
      error instanceof VigorlError && error.message !== ""
        ? null
        : `a raw error: ${error instanceof Error ? (error.stack ?? error.message) : String(error)}`,
  );
  try {
    return await Promise.race([end, hang]);
  } finally {
    clearTimeout(timer);
    rmSync(folder, { recursive: true, force: true });
  }
}

export function inputOf(target: Target, seed: number, index: number): Uint8Array {
  return target.input(stream(seed, "fuzz", target.name, index));
}
