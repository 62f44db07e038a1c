/**
 * Any server with an OpenAI-compatible API as a sampler: the teacher of a search, a model that is
 * evaluated, our own `serve`. Calls are streamed, so that an abort frees the connection and a dead
 * server is told from a slow one; busy servers and cut lines are tried again.
 * Left out: learning, tool calls of the protocol, and `n` (siblings are calls of their own).
 */
import { samplingOnly } from "../capabilities.ts";
import type {
  Capabilities,
  Chunk,
  Sample,
  SampleOptions,
  SampleParams,
  Sampler,
} from "../types.ts";
import { CallLine, type Address } from "../remote/call-line.ts";
import { defaultLimits, type CallLimits } from "../remote/limits.ts";
import type { Alive } from "../remote/watch.ts";
import { connect, findModel, listModels, type Connection } from "./connection.ts";
import { dialectOf, dialects, type Dialect, type DialectName } from "./dialect.ts";
import { faultOf } from "./faults.ts";
import { defaultContinueRequest, type RemoteOptions } from "./options.ts";
import { BrokenReply, readReply, type Reply } from "./reply.ts";
import { toRequest, type WireRequest } from "./request.ts";
import { toSample } from "./to-sample.ts";

/** A model as its server describes it; null where the server does not say how long its context is. */
export interface ServedModel {
  readonly model: string;
  readonly dialect: DialectName;
  readonly maxPositions: number | null;
}

/**
 * Asks a server for its models, and so finds out what it is and how long its context is; what the
 * options say already is not asked.
 * @throws VigorlError "usage" for a wrong key or model, "io" when the server cannot be reached.
 */
export async function findServedModel(
  options: Omit<RemoteOptions, "chat">,
  signal?: AbortSignal,
): Promise<ServedModel> {
  const { baseUrl, model, dialect, maxPositions, apiKey } = options;
  if (model !== undefined && dialect !== undefined && maxPositions !== undefined)
    return { model, dialect, maxPositions };
  const connection = connect(baseUrl, apiKey, 1);
  try {
    const list = await new CallLine(limitsOf(options), faultOf).run(
      { url: `${baseUrl}/models`, model: model ?? "of any name" },
      (alive) => listModels(connection.client, alive.signal),
      signal,
    );
    const found = findModel(list, model, baseUrl);
    return {
      model: found.id,
      dialect: dialect ?? dialectOf(found.owned_by).name,
      maxPositions: maxPositions ?? found.max_model_len ?? null,
    };
  } finally {
    await connection.close();
  }
}

/**
 * Connects to a server, once it is known what it is. Aborting `signal` ends the opening only.
 * @throws as `findServedModel`
 */
export async function openRemoteSampler(
  options: RemoteOptions,
  signal?: AbortSignal,
): Promise<Sampler> {
  return new RemoteSampler(options, await findServedModel(options, signal));
}

function limitsOf(options: Partial<CallLimits>): CallLimits {
  const { concurrency, timeoutMs, retries, retryDelayMs } = options;
  return {
    concurrency: concurrency ?? defaultLimits.concurrency,
    timeoutMs: timeoutMs ?? defaultLimits.timeoutMs,
    retries: retries ?? defaultLimits.retries,
    retryDelayMs: retryDelayMs ?? defaultLimits.retryDelayMs,
  };
}

class RemoteSampler implements Sampler {
  readonly capabilities: Capabilities;
  private readonly connection: Connection;
  private readonly dialect: Dialect;
  private readonly options: RemoteOptions;
  private readonly address: Address;
  private readonly line: CallLine;

  constructor(options: RemoteOptions, { model, dialect, maxPositions }: ServedModel) {
    const limits = limitsOf(options);
    this.options = options;
    this.connection = connect(options.baseUrl, options.apiKey, limits.concurrency);
    this.dialect = dialects[dialect];
    this.address = { url: `${options.baseUrl}/chat/completions`, model };
    this.line = new CallLine(limits, faultOf);
    this.capabilities = {
      name: `${dialect}:${model}`,
      ...samplingOnly,
      tokenExact: this.dialect.ids === "given",
      maxPositions: maxPositions ?? Number.MAX_SAFE_INTEGER,
    };
  }

  /** @throws VigorlError naming the address and the fix, or the signal's reason. */
  async sample(
    prompt: readonly Chunk[],
    params: SampleParams,
    { signal }: SampleOptions = {},
  ): Promise<Sample> {
    signal?.throwIfAborted();
    const { chat, continueRequest = defaultContinueRequest } = this.options;
    const { tokenizer, endOfTurnId } = chat;
    const { address, dialect } = this;
    const request = await toRequest(prompt, params, {
      model: address.model,
      dialect,
      tokenizer,
      continueRequest,
    });
    const maxTokens = params.maxTokens;
    const reply = await this.line.run(
      address,
      (alive) => this.attempt(request, maxTokens, alive),
      signal,
    );
    const asked = { prompt, params, endOfTurnId, isOpen: request.isOpen, url: address.url };
    return toSample(reply, asked, tokenizer);
  }

  /** Cuts the calls that are still in flight. */
  close(): Promise<void> {
    return this.connection.close();
  }

  private async attempt(
    { body, restated, stop }: WireRequest,
    maxTokens: number,
    { signal, onEvent }: Alive,
  ): Promise<Reply> {
    const create = this.connection.client.chat.completions.create(body, { signal });
    const { data, response } = await create.withResponse();
    const type = response.headers.get("content-type") ?? "nothing";
    if (!type.includes("text/event-stream")) {
      data.controller.abort();
      throw new BrokenReply(`the server sent ${type}, not a stream of events`);
    }
    return readReply(data, { stop, restated, maxTokens, onEvent });
  }
}
