/** Ours beside a published output: the same, other for a declared reason, or a fault. */
import { isDeepStrictEqual } from "node:util";
import { hashText } from "../../src/core/files.ts";
import type { AnyKind } from "./kind.ts";

/** What a comparison came to; null: the same. */
export interface Disagreement {
  /** Why they differ; null where nobody has declared it. */
  readonly reason: string | null;
  readonly published: unknown;
  readonly ours: unknown;
}

/** Compares one input with the part of a published output that counts (`readOutput`). */
export async function disagreement(
  kind: AnyKind,
  input: unknown,
  published: unknown,
): Promise<Disagreement | null> {
  const ours = plain(await kind.ours(input));
  const theirs = plain(published);
  if (isDeepStrictEqual(ours, theirs)) return null;
  for (const { reason, covers } of kind.differences)
    if (await covers(input, theirs, ours)) return { reason, published: theirs, ours };
  return { reason: null, published: theirs, ours };
}

/** The part of a published output that counts; an error that it raised stays what it is. */
export function readOutput(kind: AnyKind, input: unknown, published: unknown): unknown {
  const isRaised = typeof published === "object" && published !== null && "raises" in published;
  return isRaised || kind.read === undefined ? published : kind.read(published, input);
}

/** What a golden table holds of an output. */
export function goldenOf(kind: AnyKind, output: unknown): unknown {
  return kind.isLarge === true ? hashText(JSON.stringify(plain(output))) : plain(output);
}

/** As JSON keeps it, so that -0 and 0 are one. */
function plain(value: unknown): unknown {
  return value === undefined ? null : (JSON.parse(JSON.stringify(value)) as unknown);
}
