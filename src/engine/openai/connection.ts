/**
 * One client, with its own connections: as many as calls may be in flight, without undici's limits on
 * waiting for headers and bodies (a busy server may need longer than five minutes for its first
 * byte). In their place the caller watches for silence. The client's own retries are off.
 */
import { OpenAI } from "openai";
import { TransformStream } from "node:stream/web";
import { Agent, fetch as undiciFetch, Response, type RequestInit } from "undici";
import { VigorlError } from "../../core/errors.ts";
import { modelListSchema, type ModelList } from "./dialect.ts";
import { BrokenReply } from "./reply.ts";

export interface Connection {
  readonly client: OpenAI;
  close(): Promise<void>;
}

export function connect(baseUrl: string, apiKey: string | undefined, limit: number): Connection {
  const agent = new Agent({ headersTimeout: 0, bodyTimeout: 0, connections: limit });
  const client = new OpenAI({
    baseURL: baseUrl,
    // The client wants a key; servers without one ignore it. The environment's is never sent.
    apiKey: apiKey ?? "none",
    organization: null,
    project: null,
    maxRetries: 0,
    timeout: NEVER_MS,
    logLevel: "off",
    fetch: withAgent(agent),
  });
  return { client, close: () => agent.destroy() };
}

/** Timers take no more. */
const NEVER_MS = 2 ** 31 - 1;

/** More than any reply takes, log-probabilities included; of a compressed one, what it unpacks to. */
const maxReplyBytes = 1 << 26;

/** undici's fetch through `agent`. The two declarations of one standard differ in name only. */
function withAgent(agent: Agent): typeof fetch {
  const send = async (url: string, init?: RequestInit) => {
    const reply = await undiciFetch(url, { ...init, dispatcher: agent });
    return reply.body === null ? reply : new Response(reply.body.pipeThrough(bounded()), reply);
  };
  return send as unknown as typeof fetch;
}

/** Passes bytes on, and fails where there are too many of them. */
function bounded(): TransformStream<Uint8Array, Uint8Array> {
  let numBytes = 0;
  return new TransformStream({
    transform: (chunk, controller) => {
      numBytes += chunk.length;
      if (numBytes <= maxReplyBytes) controller.enqueue(chunk);
      else controller.error(new BrokenReply(`its reply has more than ${maxReplyBytes >> 20} MiB`));
    },
  });
}

/** Asks for the models of a server. */
export async function listModels(client: OpenAI, signal: AbortSignal): Promise<ModelList> {
  const answer = await client.models.list({ signal }).asResponse();
  const list = modelListSchema.safeParse(await answer.json());
  if (list.success) return list.data;
  throw new BrokenReply("its list of models is not of the protocol");
}

/**
 * The model of that name, or the only one where none is named.
 * @throws VigorlError("usage") when the list has no such model, or several to choose from.
 */
export function findModel(
  list: ModelList,
  model: string | undefined,
  url: string,
): ModelList["data"][number] {
  if (model === undefined && list.data.length === 1) return list.data[0];
  const found = list.data.find(({ id }) => id === model);
  if (found !== undefined) return found;
  const known = list.data.map(({ id }) => id).slice(0, 8);
  const what =
    model === undefined
      ? `the server has ${list.data.length} models, and none is named`
      : `the server has no model ${model}`;
  throw new VigorlError("usage", `${url}: ${what}`, {
    hint: known.length === 0 ? "load one into it" : `it has ${known.join(", ")}`,
  });
}
