/**
 * What can go wrong between here and a server, each as one error that names the address, the status,
 * what the server said, and the fix. Errors with code "io" may pass when tried again.
 */
import { APIConnectionError, APIError } from "openai";
import { VigorlError, type ErrorCode } from "../../core/errors.ts";
import {
  connectionFault,
  fault,
  LOG,
  retryAfterMs,
  statusMeaning,
  type Fault,
} from "../remote/faults.ts";
import { ReplyFault } from "../reply-fault.ts";
import { BrokenReply } from "./reply.ts";

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
  return connectionFault(thrown, url, thrown instanceof APIConnectionError);
}

const BROKEN_HINT =
  "look whether the URL is the one of an OpenAI-compatible API, /v1 included, and into the server's log";

function statusFault(thrown: APIError, status: number, url: string, model: string): Fault {
  const { code, hint } = meaning(status, model);
  const message = `${url}: ${status}: ${serverText(thrown)}`;
  const wait = retryAfterMs(thrown.headers);
  return { ...fault(code, message, hint, thrown), retryAfterMs: wait };
}

function meaning(status: number, model: string): { code: ErrorCode; hint: string } {
  if (status === 404)
    return {
      code: "usage",
      hint: `look whether the server has a model ${model} and the URL ends with /v1`,
    };
  return (
    statusMeaning(status, model) ?? {
      code: "input",
      hint: "change what the server names; `server: plain` sends no extras",
    }
  );
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
