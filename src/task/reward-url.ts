/**
 * Rewards by HTTP, for those who write theirs in another language: batches of episodes as JSON, and as
 * many numbers back. Bounded in time and size, and tried again where the line or the server fails.
 */
import pRetry, { AbortError } from "p-retry";
import { Agent, fetch } from "undici";
import { z } from "zod";
import { parseAt } from "../core/jsonl.ts";
import { VigorlError } from "../core/errors.ts";
import type { AskRewards, OwnReward } from "./own-reward.ts";
import type { RewardServer } from "./reward.ts";

const replySchema = z.looseObject({
  rewards: z.array(z.union([z.number(), z.record(z.string(), z.number())])),
});

/** Asks the server at `url`. @throws VigorlError("io" | "input") when it stays silent or answers something else */
export function rewardByUrl(url: string, server: RewardServer): AskRewards {
  return async (played, signal) => {
    const rewards: OwnReward[] = [];
    for (let from = 0; from < played.length; from += server.batchSize) {
      const batch = played.slice(from, from + server.batchSize);
      rewards.push(...(await askBatch(url, server, batch.map(episodeLine), signal)));
    }
    return rewards;
  };
}

async function askBatch(
  url: string,
  server: RewardServer,
  episodes: readonly unknown[],
  signal?: AbortSignal,
): Promise<readonly OwnReward[]> {
  const body = JSON.stringify({ version: 1, episodes });
  const text = await pRetry(() => post(url, body, server, signal), {
    retries: server.retries,
    minTimeout: 1000 * server.retryDelaySeconds,
    ...(signal === undefined ? {} : { signal }),
  }).catch((cause: unknown) => {
    signal?.throwIfAborted();
    if (cause instanceof VigorlError) throw cause;
    const what = cause instanceof Error ? cause.message : String(cause);
    throw new VigorlError("io", `rl.reward.url: ${url}: ${what}`, {
      hint: "start the reward server, or raise rl.reward.server.timeoutSeconds or retries",
      cause,
    });
  });
  const { rewards } = parseAt(`rl.reward.url: ${url}`, jsonOf(url, text), replySchema);
  if (rewards.length === episodes.length) return rewards;
  throw new VigorlError(
    "input",
    `rl.reward.url: ${url}: gave ${rewards.length} rewards for ${episodes.length} episodes`,
    { hint: 'reply with {"rewards": [...]}, one for each episode, in their order' },
  );
}

async function post(
  url: string,
  body: string,
  { timeoutSeconds, maxReplyMiB }: RewardServer,
  signal?: AbortSignal,
): Promise<string> {
  const timeout = AbortSignal.timeout(1000 * timeoutSeconds);
  const agent = new Agent({ maxResponseSize: maxReplyMiB * 2 ** 20 });
  try {
    const reply = await fetch(url, {
      method: "POST",
      headers: { "content-type": "application/json" },
      body,
      redirect: "error",
      dispatcher: agent,
      signal: signal === undefined ? timeout : AbortSignal.any([signal, timeout]),
    });
    const text = await reply.text();
    if (reply.ok) return text;
    const error = new Error(`status ${reply.status}: ${text.slice(0, 200)}`);
    // Only a busy or broken server may answer otherwise the next time.
    throw reply.status >= 500 || reply.status === 429 || reply.status === 408
      ? error
      : new AbortError(error);
  } catch (error) {
    if (timeout.aborted) throw new Error(`no answer within ${timeoutSeconds} s`, { cause: error });
    // p-retry takes every TypeError but those it knows for a bug; fetch throws them for cut lines.
    if (error instanceof TypeError) throw new Error(reasonOf(error), { cause: error });
    throw error;
  } finally {
    await agent.destroy();
  }
}

function reasonOf({ message, cause }: TypeError): string {
  return cause instanceof Error && cause.message !== "" ? cause.message : message;
}

function jsonOf(url: string, text: string): unknown {
  try {
    return JSON.parse(text);
  } catch (cause) {
    throw new VigorlError("input", `rl.reward.url: ${url}: its reply is not JSON`, { cause });
  }
}

/** An episode as the server gets it; `docs/own-reward.md` says what the keys mean. */
function episodeLine({ episode, record, usual }: Parameters<AskRewards>[0][number]): unknown {
  const { id, response, answer, wellFormed, stopReason, numTokens, turns, points, view } = episode;
  const { question, kind, choices = null, category = null, images } = record;
  return {
    id,
    record: {
      id: record.id,
      task: record.task ?? null,
      question,
      kind,
      truth: record.answer,
      choices,
      category,
      images: images.map((image) => (image.kind === "path" ? image.path : null)),
    },
    response,
    answer,
    turns: turns.map(({ text }) => text),
    points: points.map(({ x, y, turn, inImage }) => ({ x, y, turn, inImage })),
    toolUses: episode.toolUses.map(({ tool, turn, fault }) => ({ tool, turn, fault })),
    size: view === null ? null : { original: view.original, seen: view.resized },
    wellFormed,
    stopReason,
    tokens: numTokens.model,
    accuracy: usual.accuracy,
    usual: { total: usual.total, terms: usual.terms },
  };
}
