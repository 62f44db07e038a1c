/** What can go wrong between here and a Tinker server, as errors that name the call and the fix. */
import { VigorlError, type ErrorCode } from "../../core/errors.ts";
import {
  connectionFault,
  fault,
  LOG,
  retryAfterMs,
  statusMeaning,
  type Fault,
} from "../remote/faults.ts";

/** A reply with a status that is no success. */
export class StatusFault extends Error {
  readonly status: number;
  readonly headers: Pick<Headers, "get">;

  constructor(status: number, headers: Pick<Headers, "get">, text: string) {
    super(told(text));
    this.status = status;
    this.headers = headers;
  }
}

/** Names a failure of a request; null for what is no failure of the server's. */
export function faultOf(thrown: unknown, url: string, model: string): Fault | null {
  if (thrown instanceof VigorlError) return { error: thrown, retryAfterMs: 0 };
  if (thrown instanceof StatusFault) return statusFault(thrown, url, model);
  if (thrown instanceof SyntaxError)
    return fault("io", `${url}: malformed answer (${thrown.message})`, NO_SERVER, thrown);
  // fetch says "fetch failed" of whatever went wrong with a connection.
  return connectionFault(
    thrown,
    url,
    thrown instanceof TypeError && thrown.message === "fetch failed",
  );
}

const NO_SERVER =
  "look whether the URL is the one of a server that speaks the Tinker protocol, and into its log";

function statusFault(thrown: StatusFault, url: string, model: string): Fault {
  const { status, headers, message } = thrown;
  const should = headers.get("x-should-retry");
  const { code, hint } = meaning(status, model);
  const known = should === "true" ? "io" : should === "false" && code === "io" ? "input" : code;
  const named = fault(known, `${url}: ${status}: ${message}`, hint, thrown);
  const exact = Number(headers.get("retry-after-ms") ?? Number.NaN);
  const waits = Number.isFinite(exact) && exact > 0 ? exact : retryAfterMs(headers);
  return { ...named, retryAfterMs: Math.min(waits, 60_000) };
}

function meaning(status: number, model: string): { code: ErrorCode; hint: string } {
  if (status === 402) return { code: "usage", hint: "settle the account of this key" };
  if (status === 404) return { code: "usage", hint: NO_SERVER };
  if (status === 415)
    return {
      code: "usage",
      hint: "the server speaks an older wire of the protocol (JSON); one of SDK 0.25 or later is needed",
    };
  return (
    statusMeaning(status, model) ?? {
      code: "input",
      hint: "change what the server names; docs/engines.md has what is sent",
    }
  );
}

/** A call that the server has taken and could not carry out. */
export function failedCall(url: string, text: string, category = "unknown"): VigorlError {
  const isOurs = category === "user";
  return new VigorlError(isOurs ? "input" : "io", `${url}: ${told(text)}`, {
    hint: isOurs ? "change what the server names" : LOG,
  });
}

/** What a server says, without the rest of a page. */
function told(text: string): string {
  const short = text.replaceAll(/\s+/g, " ").trim().slice(0, 300);
  return short === "" ? "(no message)" : short;
}
