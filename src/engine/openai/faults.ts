/**
 * What can go wrong between here and a server, each as one error that names the address, the status,
 * what the server said, and the fix. Errors with code "io" may pass when tried again.
 */
import { APIConnectionError, APIError } from "openai";
import { errno, VigorlError, type ErrorCode } from "../../core/errors.ts";
import { ReplyFault } from "../reply-fault.ts";
import { BrokenReply } from "./reply.ts";

export interface Fault {
  readonly error: VigorlError;
  /** How long the server asks to wait. */
  readonly retryAfterMs: number;
}

/** Names a failure of a request to `url`; null for what is no failure of the server's. */
export function faultOf(thrown: unknown, url: string, model: string): Fault | null {
  if (thrown instanceof VigorlError) return { error: thrown, retryAfterMs: 0 };
  if (thrown instanceof BrokenReply && thrown.isFinal)
    return { error: finalFault(url, thrown), retryAfterMs: 0 };
  if (thrown instanceof BrokenReply || thrown instanceof SyntaxError)
    return fault("io", `${url}: ${brokenText(thrown)}`, BROKEN_HINT, thrown);
  if (thrown instanceof APIError && typeof thrown.status === "number")
    return statusFault(thrown, thrown.status, url, model);
  if (thrown instanceof APIError && !(thrown instanceof APIConnectionError))
    return fault("io", `${url}: the server failed while answering: ${thrown.message}`, LOG, thrown);
  const reason = connectionReason(thrown);
  if (reason === null) return null;
  return fault("io", `${url}: ${reason.what}`, reason.hint, thrown);
}

/** The server said nothing for `timeoutMs`. */
export function silence(url: string, timeoutMs: number): VigorlError {
  return new VigorlError("io", `${url}: no sign of life for ${timeoutMs / 1000} s`, {
    hint: "look whether the server is overloaded; raise the time-out or lower the concurrency",
  });
}

const LOG = "look into the server's log";
const BROKEN_HINT =
  "look whether the URL is the one of an OpenAI-compatible API, /v1 included, and into the server's log";

function statusFault(thrown: APIError, status: number, url: string, model: string): Fault {
  const { code, hint } = meaning(status, model);
  const message = `${url}: ${status}: ${serverText(thrown)}`;
  const wait = retryAfterMs(thrown.headers);
  return { ...fault(code, message, hint, thrown), retryAfterMs: wait };
}

function meaning(status: number, model: string): { code: ErrorCode; hint: string } {
  if (status === 401) return { code: "usage", hint: "set the API key that the server expects" };
  if (status === 403) return { code: "usage", hint: `ask for access to ${model} with this key` };
  if (status === 404)
    return {
      code: "usage",
      hint: `look whether the server has a model ${model} and the URL ends with /v1`,
    };
  if (status === 413)
    return { code: "input", hint: "send fewer or smaller images, or raise the server's limit" };
  if (status === 429)
    return { code: "io", hint: "lower the concurrency, or wait until the limit has passed" };
  if (status === 408 || status === 409 || status === 425 || status >= 500)
    return { code: "io", hint: LOG };
  return { code: "input", hint: "change what the server names; `server: plain` sends no extras" };
}

/** What the server said: the message of its error object, or its body as it is. */
function serverText(thrown: APIError): string {
  const body = thrown.error as unknown;
  if (typeof body === "object" && body !== null && "message" in body)
    return typeof body.message === "string" ? body.message : JSON.stringify(body.message);
  if (typeof body === "string") return body.slice(0, 300);
  const text = thrown.message.replace(/^\d+ /, "").slice(0, 300);
  return text === "status code (no body)" ? "(no message)" : text;
}

function finalFault(url: string, cause: BrokenReply): ReplyFault {
  const hint = "ask otherwise, or another model";
  return new ReplyFault(`${url}: ${cause.message}`, { hint, cause });
}

function brokenText(thrown: Error): string {
  return thrown instanceof BrokenReply
    ? thrown.message
    : `the answer holds malformed JSON (${thrown.message})`;
}

/** Seconds, or a date. */
export function retryAfterMs(headers: Headers | undefined): number {
  const value = headers?.get("retry-after");
  if (!value) return 0;
  const seconds = Number(value);
  const ms = Number.isFinite(seconds) ? seconds * 1000 : Date.parse(value) - Date.now();
  return Number.isFinite(ms) ? Math.max(0, ms) : 0;
}

function connectionReason(thrown: unknown): { what: string; hint: string } | null {
  if (!(thrown instanceof Error)) return null;
  const chain = causes(thrown);
  const code = chain.map(errno).find((one) => one !== undefined && !one.startsWith("ERR_"));
  if (code === "ECONNREFUSED")
    return { what: "connection refused", hint: "start the server, or correct host and port" };
  if (code === "ENOTFOUND" || code === "EAI_AGAIN")
    return { what: `host not found (${code})`, hint: "correct the host's name in the URL" };
  const isConnection =
    code !== undefined || thrown instanceof APIConnectionError || thrown.message === "terminated";
  if (!isConnection) return null;
  const detail = code ?? chain.at(-1)?.message ?? thrown.message;
  return { what: `the connection was cut (${detail})`, hint: LOG };
}

function causes(error: Error): Error[] {
  return error.cause instanceof Error ? [error, ...causes(error.cause)] : [error];
}

function fault(code: ErrorCode, message: string, hint: string, cause: unknown): Fault {
  return { error: new VigorlError(code, message, { hint, cause }), retryAfterMs: 0 };
}
