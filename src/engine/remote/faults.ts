/**
 * What can go wrong on the way to any server, each as one error that names the address and the fix.
 * Errors with code "io" may pass when tried again.
 */
import { errno, VigorlError, type ErrorCode } from "../../core/errors.ts";

export interface Fault {
  readonly error: VigorlError;
  /** How long the server asks to wait. */
  readonly retryAfterMs: number;
}

export const LOG = "look into the server's log";

export function fault(code: ErrorCode, message: string, hint: string, cause: unknown): Fault {
  return { error: new VigorlError(code, message, { hint, cause }), retryAfterMs: 0 };
}

/** The server said nothing for `timeoutMs`. */
export function silence(url: string, timeoutMs: number): VigorlError {
  return new VigorlError("io", `${url}: no sign of life for ${timeoutMs / 1000} s`, {
    hint: "look whether the server is overloaded; raise the time-out or lower the concurrency",
  });
}

/** What statuses mean that mean the same everywhere; undefined for others. */
export function statusMeaning(
  status: number,
  model: string,
): { code: ErrorCode; hint: string } | undefined {
  if (status === 401) return { code: "usage", hint: "set the API key that the server expects" };
  if (status === 403) return { code: "usage", hint: `ask for access to ${model} with this key` };
  if (status === 413)
    return { code: "input", hint: "send fewer or smaller images, or raise the server's limit" };
  if (status === 429)
    return { code: "io", hint: "lower the concurrency, or wait until the limit has passed" };
  if (status === 408 || status === 409 || status === 425 || status >= 500)
    return { code: "io", hint: LOG };
  return undefined;
}

/** A `retry-after` of seconds, or a date. */
export function retryAfterMs(headers: Pick<Headers, "get"> | undefined): number {
  const value = headers?.get("retry-after");
  if (!value) return 0;
  const seconds = Number(value);
  const ms = Number.isFinite(seconds) ? seconds * 1000 : Date.parse(value) - Date.now();
  return Number.isFinite(ms) ? Math.max(0, ms) : 0;
}

/** Names a connection that failed; null for what is no such failure, unless `isConnection` says so. */
export function connectionFault(thrown: unknown, url: string, isConnection = false): Fault | null {
  if (!(thrown instanceof Error)) return null;
  const chain = causes(thrown);
  const code = chain.map(errno).find((one) => one !== undefined && !one.startsWith("ERR_"));
  if (code === "ECONNREFUSED") {
    const hint = "start the server, or correct host and port";
    return fault("io", `${url}: connection refused`, hint, thrown);
  }
  if (code === "ENOTFOUND" || code === "EAI_AGAIN") {
    const hint = "correct the host's name in the URL";
    return fault("io", `${url}: host not found (${code})`, hint, thrown);
  }
  if (code === undefined && !isConnection && thrown.message !== "terminated") return null;
  const detail = code ?? chain.at(-1)?.message ?? thrown.message;
  return fault("io", `${url}: the connection was cut (${detail})`, LOG, thrown);
}

function causes(error: Error): Error[] {
  return error.cause instanceof Error ? [error, ...causes(error.cause)] : [error];
}
