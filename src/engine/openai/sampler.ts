/**
 * Any server with an OpenAI-compatible API as a sampler: the teacher of a search, a model that is
 * evaluated, our own `serve`. Calls are streamed, so that an abort frees the connection and a dead
 * server is told from a slow one; busy servers and cut lines are tried again.
 * Left out: learning, tool calls of the protocol, and `n` (siblings are calls of their own).
 */
import { setTimeout as sleep } from "node:timers/promises";
import pLimit, { type LimitFunction } from "p-limit";
import pRetry from "p-retry";
import type { VigorlError } from "../../core/errors.ts";
import type {
  Capabilities,
  Chunk,
  Sample,
  SampleOptions,
  SampleParams,
  Sampler,
} from "../types.ts";
import { connect, findModel, listModels, type Connection } from "./connection.ts";
import { dialectOf, dialects, type Dialect } from "./dialect.ts";
import { faultOf, silence } from "./faults.ts";
import { defaultContinueRequest, type RemoteOptions } from "./options.ts";
import { BrokenReply, readReply, type Reply } from "./reply.ts";
import { toRequest, type WireRequest } from "./request.ts";
import { toSample } from "./to-sample.ts";
import { orAborted, untilSilent } from "./watch.ts";

/**
 * Connects to a server: asks for its models, and so finds out what it is and how long its context is.
 * Aborting `signal` ends the opening only.
 * @throws VigorlError "usage" for a wrong key or model, "io" when the server cannot be reached.
 */
export async function openRemoteSampler(
  options: RemoteOptions,
  signal?: AbortSignal,
): Promise<Sampler> {
  const { baseUrl, model, concurrency = 32, timeoutMs = 300_000 } = options;
  const connection = connect(baseUrl, options.apiKey, concurrency);
  const sampler = (name: string, dialect: Dialect, maxPositions: number | null | undefined) =>
    new RemoteSampler(connection, dialect, maxPositions ?? Number.MAX_SAFE_INTEGER, {
      ...options,
      model: name,
      concurrency,
      timeoutMs,
    });
  if (model !== undefined && options.dialect !== undefined && options.maxPositions !== undefined)
    return sampler(model, dialects[options.dialect], options.maxPositions);
  try {
    const list = await retrying(options, signal, () =>
      called(`${baseUrl}/models`, model ?? "of any name", timeoutMs, signal, (alive) =>
        listModels(connection.client, alive.signal),
      ),
    );
    const found = findModel(list, model, baseUrl);
    const dialect =
      options.dialect === undefined ? dialectOf(found.owned_by) : dialects[options.dialect];
    return sampler(found.id, dialect, options.maxPositions ?? found.max_model_len);
  } catch (error) {
    await connection.close();
    throw error;
  }
}

type Settings = RemoteOptions & Readonly<{ model: string; concurrency: number; timeoutMs: number }>;

class RemoteSampler implements Sampler {
  readonly capabilities: Capabilities;
  private readonly connection: Connection;
  private readonly dialect: Dialect;
  private readonly settings: Settings;
  private readonly limit: LimitFunction;

  constructor(connection: Connection, dialect: Dialect, maxPositions: number, settings: Settings) {
    this.connection = connection;
    this.dialect = dialect;
    this.settings = settings;
    this.limit = pLimit(settings.concurrency);
    this.capabilities = {
      name: `${dialect.name}:${settings.model}`,
      sample: true,
      learn: false,
      tokenExact: dialect.ids === "given",
      maxPositions,
    };
  }

  /** @throws VigorlError naming the address and the fix, or the signal's reason. */
  async sample(
    prompt: readonly Chunk[],
    params: SampleParams,
    { signal }: SampleOptions = {},
  ): Promise<Sample> {
    signal?.throwIfAborted();
    const { chat, model, continueRequest = defaultContinueRequest } = this.settings;
    const { tokenizer, endOfTurnId } = chat;
    const { dialect } = this;
    const request = await toRequest(prompt, params, {
      model,
      dialect,
      tokenizer,
      continueRequest,
    });
    const work = retrying(this.settings, signal, () =>
      this.limit(() => this.attempt(request, signal)),
    );
    const reply = await orAborted(work, signal);
    return toSample(reply, { prompt, params, endOfTurnId }, tokenizer);
  }

  /** Cuts the calls that are still in flight. */
  close(): Promise<void> {
    return this.connection.close();
  }

  private attempt({ body, restated, stop }: WireRequest, signal?: AbortSignal): Promise<Reply> {
    const { baseUrl, model, timeoutMs } = this.settings;
    return called(`${baseUrl}/chat/completions`, model, timeoutMs, signal, async (alive) => {
      const create = this.connection.client.chat.completions.create(body, { signal: alive.signal });
      const { data, response } = await create.withResponse();
      const type = response.headers.get("content-type") ?? "nothing";
      if (!type.includes("text/event-stream")) {
        data.controller.abort();
        throw new BrokenReply(`the server sent ${type}, not a stream of events`);
      }
      return readReply(data, { stop, restated, onEvent: alive.onEvent });
    });
  }
}

/** Runs a request under the watch for silence, and names what goes wrong with it. */
async function called<T>(
  url: string,
  model: string,
  timeoutMs: number,
  signal: AbortSignal | undefined,
  work: (alive: { signal: AbortSignal; onEvent: () => void }) => Promise<T>,
): Promise<T> {
  try {
    return await untilSilent(timeoutMs, signal, () => silence(url, timeoutMs), work);
  } catch (thrown) {
    signal?.throwIfAborted();
    const fault = faultOf(thrown, url, model);
    if (fault === null) throw thrown;
    if (fault.retryAfterMs > 0) retryAfter.set(fault.error, fault.retryAfterMs);
    throw fault.error;
  }
}

/** How long the server behind an error asked to wait. */
const retryAfter = new WeakMap<VigorlError, number>();

/** Tries again, with growing pauses and no earlier than the server asks, what may pass. */
function retrying<T>(
  { retries = 4, retryDelayMs = 500 }: Pick<RemoteOptions, "retries" | "retryDelayMs">,
  signal: AbortSignal | undefined,
  work: () => Promise<T>,
): Promise<T> {
  return pRetry(work, {
    retries,
    factor: 2,
    minTimeout: retryDelayMs,
    maxTimeout: Math.max(60_000, retryDelayMs),
    randomize: true,
    shouldRetry: ({ error }) => "code" in error && error.code === "io" && signal?.aborted !== true,
    onFailedAttempt: async ({ error, retriesLeft }) => {
      const waitMs = retryAfter.get(error as VigorlError) ?? 0;
      if (waitMs > 0 && retriesLeft > 0)
        await sleep(waitMs, undefined, signal === undefined ? {} : { signal });
    },
    ...(signal === undefined ? {} : { signal }),
  });
}
