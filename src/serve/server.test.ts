/** The nano model behind a real port: the official client, and episodes through HTTP. */
import OpenAI, { APIUserAbortError, BadRequestError, NotFoundError } from "openai";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { openLocalEngine, type LocalEngine } from "../engine/local/client.ts";
import { openRemoteSampler } from "../engine/openai/sampler.ts";
import { nanoRecords } from "../nano/tasks.ts";
import {
  episodeSettingsSchema,
  loadEpisodeConfig,
  type EpisodeConfig,
} from "../task/episode-config.ts";
import { runEpisode } from "../task/episode.ts";
import { createApp } from "./app.ts";
import { dataUrl } from "./fixtures/api.ts";
import { startServer, type RunningServer } from "./server.ts";

const folder = new URL("../../models/nano", import.meta.url).pathname;
let engine: LocalEngine;
let server: RunningServer;
let client: OpenAI;
let config: EpisodeConfig;

beforeAll(async () => {
  const settings = episodeSettingsSchema.parse({
    tools: { zoom: { windowPx: 12, outputPx: 112 } },
    episode: { maxTurns: 3, maxTokensPerTurn: 60 },
    prompts: { style: "nano" },
  });
  config = await loadEpisodeConfig(folder, settings);
  engine = await openLocalEngine(folder, { device: "cpu", threads: 1, numSlots: 8 });
  server = await startServer(createApp({ sampler: engine, format: config, model: "nano" }), {
    port: 0,
  });
  client = new OpenAI({ baseURL: server.url, apiKey: "none", maxRetries: 0 });
});

afterAll(async () => {
  await server.close();
  await engine.close();
});

const ask = {
  model: "nano",
  messages: [{ role: "user" as const, content: "which digit is on the red star?" }],
  max_tokens: 12,
  seed: 3,
};

describe("the official client", () => {
  test("lists models", async () => {
    const models = await client.models.list();
    expect(models.data.map(({ id, owned_by }) => [id, owned_by])).toEqual([["nano", "vigorl"]]);
    expect((await client.models.retrieve("nano")).id).toBe("nano");
  });

  test("gets a completion about an image, the same for the same seed", async () => {
    const image_url = { url: await dataUrl(448, 448) };
    const content = [
      { type: "image_url" as const, image_url },
      { type: "text" as const, text: "which digit is on the red star?" },
    ];
    const body = { ...ask, messages: [{ role: "user" as const, content }] };
    const replies = await Promise.all([1, 2].map(() => client.chat.completions.create(body)));
    expect(replies[0].choices).toEqual(replies[1].choices);
    const [{ message, finish_reason }] = replies[0].choices;
    expect(message.role).toBe("assistant");
    expect(["stop", "length"]).toContain(finish_reason);
    const { usage } = replies[0];
    expect(usage?.prompt_tokens).toBeGreaterThan(16);
    expect(usage?.total_tokens).toBe((usage?.prompt_tokens ?? 0) + (usage?.completion_tokens ?? 0));
    // A reply can be handed back as it is.
    const next = [...body.messages, message, { role: "user" as const, content: "sure?" }];
    expect(
      (await client.chat.completions.create({ ...body, messages: next })).choices,
    ).toHaveLength(1);
  });

  test("reads a stream that joins to the whole reply", async () => {
    const body = { ...ask, logprobs: true, n: 2 };
    const whole = await client.chat.completions.create(body);
    const streamed = client.chat.completions.stream(body);
    const final = await streamed.finalChatCompletion();
    expect(final.choices.map(({ message }) => message.content)).toEqual(
      whole.choices.map(({ message }) => message.content),
    );
    expect(final.choices.map(({ finish_reason }) => finish_reason)).toEqual(
      whole.choices.map(({ finish_reason }) => finish_reason),
    );
    expect(final.choices[0].logprobs?.content).toEqual(whole.choices[0].logprobs?.content);
  });

  test("gets an event a token", async () => {
    const whole = await client.chat.completions.create({ ...ask, logprobs: true });
    const numTokens = whole.choices[0].logprobs?.content?.length ?? 0;
    const stream = await client.chat.completions.create({ ...ask, stream: true });
    let numPieces = 0;
    for await (const { choices } of stream) if (choices[0].delta.content) numPieces++;
    // The token that ends a turn has no text.
    expect(numPieces).toBeGreaterThan(1);
    expect(numPieces).toBeGreaterThanOrEqual(numTokens - 1);
  });

  test("gets its own classes of errors", async () => {
    const call = (body: Parameters<typeof client.chat.completions.create>[0]) =>
      client.chat.completions.create(body);
    await expect(call({ ...ask, model: "gpt" })).rejects.toThrow(NotFoundError);
    await expect(call({ ...ask, temperature: -1 })).rejects.toThrow(BadRequestError);
    await expect(call({ ...ask, max_tokens: 10 ** 6 })).rejects.toThrow(/positions/);
  });

  test("stops the engine's work when it goes away", async () => {
    const caller = new AbortController();
    const pending = client.chat.completions.create(
      { ...ask, max_tokens: 500, n: 8 },
      { signal: caller.signal },
    );
    const base = server.url.replace("/v1", "");
    const running = async () =>
      ((await (await fetch(`${base}/health`)).json()) as { running: number }).running;
    while ((await running()) === 0) await new Promise((resolve) => setTimeout(resolve, 1));
    caller.abort();
    await expect(pending).rejects.toThrow(APIUserAbortError);
    while ((await running()) > 0) await new Promise((resolve) => setTimeout(resolve, 5));
  });
});

test("episodes through HTTP are those of the engine, bit for bit", async () => {
  const remote = await openRemoteSampler({ baseUrl: server.url, model: "nano", chat: config.chat });
  try {
    const records = nanoRecords({ task: "search", split: "heldout", count: 6, seed: 1 });
    const play = (sampler: typeof remote) =>
      Promise.all(
        records.map(async (record, i) => {
          const episode = await runEpisode(sampler, record, config, i);
          // Hashes of the pixels that were read are the local engine's alone.
          const chunks = episode.chunks.map((chunk) => ({ ...chunk, imageHashes: undefined }));
          return { ...episode, chunks, seconds: 0 };
        }),
      );
    const near = await play(engine);
    const far = await play(remote);
    expect(far).toEqual(near);
    expect(near.some(({ turns }) => turns.length > 1)).toBe(true);
    expect(near.every(({ error }) => error === null)).toBe(true);
  } finally {
    await remote.close();
  }
});

test("a port that is taken is named", async () => {
  const port = Number(new URL(server.url).port);
  const app = createApp({ sampler: engine, format: config, model: "nano" });
  await expect(startServer(app, { port })).rejects.toThrow(`127.0.0.1:${port}: another program`);
});
