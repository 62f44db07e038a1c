/** What is compared with the published code: inputs, what its functions are asked, and what ours give. */
import type { Rng } from "../../src/core/random.ts";

/** "model-like": what a model or a person would write, faults included; "hostile": anything. */
export const styles = ["model-like", "hostile"] as const;
export type Style = (typeof styles)[number];

export interface Kind<Input = never> {
  /** That of the function in oracle.py. */
  readonly name: string;
  /** One input, of plain JSON; the same stream gives the same. */
  readonly make: (random: Rng, style: Style) => Input;
  /** What the published function is called with. */
  readonly ask: (input: Input) => unknown;
  readonly ours: (input: Input) => unknown;
  /** The part of a published output that is compared; default: all of it. */
  readonly read?: (published: unknown, input: Input) => unknown;
  /** Where we do otherwise on purpose; a difference that none of these covers is a fault. */
  readonly differences: readonly Difference<Input>[];
  /** Golden tables hold a digest in the place of outputs that are large. */
  readonly isLarge?: boolean;
}

export interface Difference<Input = never> {
  /** What differs and why, as the report prints it. */
  readonly reason: string;
  /** Too rare for the golden tables to hold one. */
  readonly isRare?: boolean;
  readonly covers: (input: Input, published: unknown, ours: unknown) => boolean | Promise<boolean>;
}

/** A kind whose input is known to nobody but itself. */
export type AnyKind = Kind<unknown>;

/** Hides the type of a kind's inputs: they are made by the kind, or read from its own golden table. */
export function anyKind<Input>(kind: Kind<Input>): AnyKind {
  return kind as unknown as AnyKind;
}
