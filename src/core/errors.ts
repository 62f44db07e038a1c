/**
 * The one error type that users meet. Its message names the place and what is wrong; its hint names
 * the fix. Everything that is not a VigorlError is a bug and is shown with its stack.
 */

/** What kind of failure this is; it decides the exit code. */
export type ErrorCode =
  | "usage" // a wrong flag, verb or recipe
  | "input" // bad data: an image, a dataset line, a model folder, a checkpoint
  | "missing" // something that has to be installed or downloaded first
  | "io" // disk full, permission, cut connection
  | "numerics" // NaN, empty batch, length mismatch: the run stops
  | "interrupted";

export class VigorlError extends Error {
  readonly code: ErrorCode;
  readonly hint: string | undefined;

  constructor(code: ErrorCode, message: string, options: { hint?: string; cause?: unknown } = {}) {
    super(message, options.cause === undefined ? undefined : { cause: options.cause });
    this.name = "VigorlError";
    this.code = code;
    this.hint = options.hint;
  }
}

/** Maps an error to a process exit code: 2 a user's mistake, 1 a bug, 130 an interrupt. */
export function exitCode(error: unknown): number {
  if (!(error instanceof VigorlError)) return 1;
  return error.code === "interrupted" ? 130 : 2;
}

/** Formats an error for people: message and fix for a user's mistake, the stack for a bug. */
export function describeError(error: unknown): string {
  if (error instanceof VigorlError) {
    return error.hint === undefined ? error.message : `${error.message}\n  fix: ${error.hint}`;
  }
  return error instanceof Error ? (error.stack ?? error.message) : String(error);
}

/** The errno of a Node system error (`ENOENT`, `ENOSPC`, …), or undefined. */
export function errno(error: unknown): string | undefined {
  if (error instanceof Error && "code" in error && typeof error.code === "string")
    return error.code;
  return undefined;
}
