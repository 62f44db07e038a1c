/**
 * What the fuzz asks of a reader: whatever the input, it gives a result or a VigorlError; never another
 * error, a rejection that nobody handles, a signal, a hang, or much more memory than sound input takes.
 */
import type { Rng } from "../../src/core/random.ts";

export interface Target {
  readonly name: string;
  /** Endings of the file that an input is kept in. */
  readonly extension: string;
  /** One input; the same stream gives the same. */
  input(random: Rng): Uint8Array;
  /** Reads it. `file` holds the input; its folder is the case's own and may be written to. */
  run(file: string, input: Uint8Array): Promise<unknown>;
}
