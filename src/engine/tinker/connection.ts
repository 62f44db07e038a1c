/**
 * Requests to a Tinker server and the tickets that it answers with: every call is tried again where
 * that may help, a result is asked for until it is there, and a ticket that the server has lost leads
 * to the same call once more (its number makes that the same call to the server, too).
 */
import { setTimeout as sleep } from "node:timers/promises";
import { Agent, fetch as undiciFetch } from "undici";
import { z } from "zod";
import { VigorlError } from "../../core/errors.ts";
import { parseAt } from "../../core/jsonl.ts";
import { CallLine } from "../remote/call-line.ts";
import type { CallLimits } from "../remote/limits.ts";
import type { Alive } from "../remote/watch.ts";
import { failedCall, faultOf, StatusFault } from "./faults.ts";

/** The protocol as this SDK of its authors speaks it; servers are told so. */
const SDK_VERSION = "0.38.0";

const PROTOBUF = "application/x-protobuf";
/** A reply may hold this many bytes: log-probabilities of a batch, not a model. */
const MAX_REPLY_BYTES = 512 * 2 ** 20;
/** Connections beside those of calls that are waited for: signs of life. */
const SPARE = 2;
/** Pause between two questions for a result where a server answers at once that it has none; it doubles. */
const FIRST_PAUSE_MS = 20;
const LAST_PAUSE_MS = 1000;

export interface ConnectionOptions {
  /** Without a slash at its end. */
  readonly url: string;
  readonly apiKey: string | undefined;
  /** For messages. */
  readonly model: string;
  readonly limits: CallLimits;
  /** Longest wait for the result of a call. */
  readonly resultMs: number;
}

/** The body of a request: JSON, or protobuf. */
export type Body = Readonly<Record<string, unknown>> | Uint8Array;

/** What came back: the object of JSON, or the bytes of protobuf. */
export type Reply =
  | { readonly type: "json"; readonly value: Readonly<Record<string, unknown>> }
  | { readonly type: "protobuf"; readonly bytes: Uint8Array };

export interface CallOptions {
  readonly signal?: AbortSignal;
  readonly headers?: Readonly<Record<string, string>>;
  readonly method?: "POST" | "GET" | "DELETE";
  /** Do not try again: for calls that nobody waits for. */
  readonly once?: boolean;
}

const configSchema = z.looseObject({
  pjwt_auth_enabled: z.boolean().default(false),
  fwdbwd_max_chunk_len: z.int().min(1).default(1024),
  fwdbwd_max_chunk_bytes_count: z.int().min(1).default(5_000_000),
});
export type ServerConfig = z.output<typeof configSchema>;

const ticketSchema = z.looseObject({ request_id: z.union([z.string().min(1), z.int()]) });
const failureSchema = z.looseObject({ error: z.string(), category: z.string().optional() });

export class Connection {
  readonly sdkVersion = SDK_VERSION;
  private readonly options: ConnectionOptions;
  private readonly agent: Agent;
  private readonly line: CallLine;
  private readonly direct: CallLine;
  private credential: string;

  constructor(options: ConnectionOptions) {
    const { limits, apiKey } = options;
    this.options = options;
    this.agent = new Agent({
      headersTimeout: 0,
      bodyTimeout: 0,
      connections: limits.concurrency + SPARE,
    });
    this.line = new CallLine(limits, faultOf);
    this.direct = new CallLine({ ...limits, retries: 0 }, faultOf);
    // Servers of one's own ignore the value, but some want one of this form.
    this.credential = apiKey ?? "tml-none";
  }

  /** What the server sets, after its short-lived credential is fetched where it wants one. */
  async handshake(signal: AbortSignal | undefined): Promise<ServerConfig> {
    await this.json("GET", "healthz", {}, { signal });
    const value = await this.json(
      "POST",
      "client/config",
      { sdk_version: SDK_VERSION },
      {
        signal,
      },
    );
    const config = parseAt(`${this.options.url}: client/config`, value, configSchema);
    if (config.pjwt_auth_enabled) await this.renewCredential(signal);
    return config;
  }

  private async renewCredential(signal: AbortSignal | undefined): Promise<void> {
    const answer = await this.json("POST", "auth/token", {}, { signal });
    const { jwt } = parseAt(
      `${this.options.url}: auth/token`,
      answer,
      z.looseObject({ jwt: z.string() }),
    );
    this.credential = jwt;
  }

  /** A call whose answer is its result. */
  async json(
    method: "POST" | "GET" | "DELETE",
    path: string,
    body: Body,
    options: CallOptions = {},
  ): Promise<Readonly<Record<string, unknown>>> {
    const reply = await this.send(path, body, { ...options, method });
    if (reply.type === "json") return reply.value;
    throw failedCall(this.address(path), "it answered with protobuf where JSON was expected");
  }

  /** A call whose answer is a ticket: the submission alone. Returns the ticket. */
  async submit(path: string, body: Body, options: CallOptions = {}): Promise<string> {
    const value = await this.json("POST", path, body, options);
    const ticket = ticketSchema.safeParse(value);
    if (ticket.success) return String(ticket.data.request_id);
    throw failedCall(this.address(path), "it answered without the ticket of a result");
  }

  /** Submits a call and waits for its result. */
  async call(path: string, body: Body, kind: string, options: CallOptions = {}): Promise<Reply> {
    return this.result(await this.submit(path, body, options), { path, body, kind }, options);
  }

  /**
   * The result behind a ticket of `call`; a ticket that was lost is asked for anew, a few times.
   * @throws VigorlError naming the call where it failed or takes too long
   */
  async result(
    ticket: string,
    call: { readonly path: string; readonly body: Body; readonly kind: string },
    options: CallOptions,
  ): Promise<Reply> {
    const { limits } = this.options;
    for (let held = ticket, lost = 0; ; lost++) {
      const reply = await this.poll(held, call.kind, call.path, options);
      if (reply !== "lost") return reply;
      if (lost >= limits.retries)
        throw failedCall(
          this.address(call.path),
          "it lost the ticket of this call again and again",
        );
      held = await this.submit(call.path, call.body, options);
    }
  }

  private async poll(
    ticket: string,
    kind: string,
    path: string,
    options: CallOptions,
  ): Promise<Reply | "lost"> {
    const until = performance.now() + this.options.resultMs;
    let whole = false;
    let pause = FIRST_PAUSE_MS;
    for (let iteration = 0; ; iteration++) {
      const asked = performance.now();
      const reply = await this.ask(ticket, kind, iteration, whole, options);
      if (reply === "lost" || reply.type === "protobuf") return reply;
      const { value } = reply;
      if (value.status === "complete_metadata" && !whole) {
        whole = true;
        continue;
      }
      const failure = failureSchema.safeParse(value);
      if (failure.success)
        throw failedCall(this.address(path), failure.data.error, failure.data.category);
      if (value.type !== "try_again" && value.status !== "complete_metadata") return reply;
      if (performance.now() > until) {
        const why = typeof value.queue_state === "string" ? ` (${value.queue_state})` : "";
        const { resultMs } = this.options;
        throw new VigorlError(
          "io",
          `${this.address(path)}: no result within ${resultMs / 1000} s${why}`,
          { hint: "look whether the server works on it; raise engine.resultSeconds" },
        );
      }
      // A server that holds the question paces by itself.
      const rest = pause - (performance.now() - asked);
      if (rest > 0) await sleep(rest, undefined, { signal: options.signal });
      pause = Math.min(LAST_PAUSE_MS, 2 * pause);
    }
  }

  private async ask(
    ticket: string,
    kind: string,
    iteration: number,
    whole: boolean,
    options: CallOptions,
  ): Promise<Reply | "lost"> {
    const binary = kind === "Sample" || kind === "Forward" || kind === "ForwardBackward";
    try {
      return await this.send(
        "retrieve_future",
        { request_id: ticket, allow_metadata_only: !whole },
        {
          ...options,
          headers: {
            "X-Tinker-Request-Type": kind,
            "X-Tinker-Request-Iteration": String(iteration),
            ...(binary ? { Accept: PROTOBUF } : {}),
          },
        },
      );
    } catch (error) {
      const status = error instanceof VigorlError && error.cause;
      if (status instanceof StatusFault && status.status === 410) return "lost";
      throw error;
    }
  }

  private async send(path: string, body: Body, options: CallOptions): Promise<Reply> {
    const { model } = this.options;
    const url = this.address(path);
    const line = options.once === true ? this.direct : this.line;
    const attempt = (alive: Alive) => this.attempt(url, path, body, options, alive);
    return line.run({ url, model }, attempt, options.signal);
  }

  private async attempt(
    url: string,
    path: string,
    body: Body,
    { method = "POST", headers = {} }: CallOptions,
    { signal, onEvent }: Alive,
  ): Promise<Reply> {
    const binary = body instanceof Uint8Array;
    const response = await undiciFetch(url, {
      method,
      signal,
      dispatcher: this.agent,
      headers: {
        Accept: "application/json",
        "Content-Type": binary ? PROTOBUF : "application/json",
        "User-Agent": "vigorl",
        "X-API-Key": this.credential,
        ...headers,
      },
      ...(method === "POST" ? { body: binary ? body : JSON.stringify(body) } : {}),
    });
    const bytes = await readBounded(response.body, MAX_REPLY_BYTES, onEvent);
    if (response.status === 408 && path === "retrieve_future")
      return { type: "json", value: { type: "try_again" } };
    if (response.status === 401 && path !== "auth/token" && this.credential.startsWith("eyJ")) {
      await this.renewCredential(signal);
      throw new VigorlError("io", `${url}: the credential had run out`);
    }
    if (!response.ok) throw new StatusFault(response.status, response.headers, textOf(bytes));
    const type = response.headers.get("content-type") ?? "";
    if (type.includes("protobuf") || type.includes("octet-stream"))
      return { type: "protobuf", bytes };
    const value = bytes.length === 0 ? {} : (JSON.parse(textOf(bytes)) as unknown);
    if (typeof value !== "object" || value === null || Array.isArray(value))
      throw new SyntaxError("the answer is no JSON object");
    return { type: "json", value: value as Record<string, unknown> };
  }

  private address(path: string): string {
    return `${this.options.url}/api/v1/${path}`;
  }

  /** Cuts the calls that are still in flight. */
  close(): Promise<void> {
    return this.agent.destroy();
  }
}

async function readBounded(
  body: AsyncIterable<Uint8Array> | null,
  maxBytes: number,
  onEvent: () => void,
): Promise<Uint8Array> {
  const parts: Uint8Array[] = [];
  let total = 0;
  for await (const part of body ?? []) {
    onEvent();
    total += part.length;
    if (total > maxBytes) throw new VigorlError("input", `a reply of more than ${maxBytes} bytes`);
    parts.push(part);
  }
  return Buffer.concat(parts);
}

function textOf(bytes: Uint8Array): string {
  return new TextDecoder().decode(bytes);
}
