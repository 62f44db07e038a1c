/** Bodies of requests, changed as values and as bytes, before a sampler that answers at once. */
import sharp from "sharp";
import type { Sampler } from "../../../src/engine/types.ts";
import { samplingOnly } from "../../../src/engine/capabilities.ts";
import { createApp } from "../../../src/serve/app.ts";
import { episodeSettingsSchema, loadEpisodeConfig } from "../../../src/task/episode-config.ts";
import { mutateBytes, mutateValue } from "../mutate.ts";
import type { Target } from "../target.ts";

const folder = new URL("../../../models/nano", import.meta.url).pathname;
const tools = { zoom: { windowPx: 8, outputPx: 112 } };
const settings = episodeSettingsSchema.parse({ tools, prompts: { style: "nano" } });
const format = await loadEpisodeConfig(folder, settings);
const { chat } = format;
const tokens = [...chat.tokenizer.encode("7"), chat.tokenizer.eosId];
const sampler: Sampler = {
  capabilities: { name: "one word", ...samplingOnly, tokenExact: true, maxPositions: 512 },
  sample: () =>
    Promise.resolve({
      tokens,
      logprobs: tokens.map(() => -1),
      stopReason: "eos",
      weightsVersion: 0,
    }),
  close: () => Promise.resolve(),
};
const app = createApp({
  sampler,
  format,
  model: "nano",
  limits: { maxImagePixels: 4_000_000 },
});

const background = { r: 200, g: 30, b: 30 };
const blank = sharp({ create: { width: 40, height: 30, channels: 3, background } });
const pictures = await Promise.all([
  blank.clone().png().toBuffer(),
  blank.clone().jpeg().toBuffer(),
  blank.clone().webp().toBuffer(),
  blank.clone().gif().toBuffer(),
]);

function sound(picture: Uint8Array): unknown {
  const url = `data:image/png;base64,${Buffer.from(picture).toString("base64")}`;
  return {
    model: "nano",
    messages: [
      { role: "system", content: "look" },
      {
        role: "user",
        content: [
          { type: "image_url", image_url: { url, detail: null } },
          { type: "text", text: "which digit?" },
        ],
      },
      { role: "assistant", content: null, tool_calls: null, refusal: null },
      { role: "user", content: "sure?" },
    ],
    n: 2,
    max_tokens: 4,
    temperature: 0.5,
    top_p: 0.9,
    stop: ["</answer>"],
    seed: 1,
    logprobs: true,
    stream: false,
    stream_options: { include_usage: true },
  };
}

/** A conversation that a client plays, or lets the server play. */
function withTools(picture: Uint8Array, isPlayed: boolean): unknown {
  const {
    messages,
    n: _,
    stop: __,
    logprobs: ___,
    ...rest
  } = sound(picture) as {
    messages: object[];
    n: unknown;
    stop: unknown;
    logprobs: unknown;
  };
  if (isPlayed) return { ...rest, messages: messages.slice(0, 2), vigorl: { play: true } };
  const called = { name: "search_coordinate", arguments: '{"coordinate": [50, 60]}' };
  const call = { id: "call_0_x", type: "function", function: called };
  const url = `data:image/png;base64,${Buffer.from(picture).toString("base64")}`;
  const image = { type: "image_url", image_url: { url } };
  return {
    ...rest,
    tools: [{ type: "function", function: { name: called.name, parameters: {} } }],
    messages: [
      ...messages.slice(0, 2),
      { role: "assistant", content: "<think> there </think>", tool_calls: [call] },
      { role: "tool", tool_call_id: call.id, content: [image] },
    ],
  };
}

function question(picture: Uint8Array): unknown {
  const image = `data:image/png;base64,${Buffer.from(picture).toString("base64")}`;
  return { model: "nano", image, question: "which digit?", kind: "text", seed: 1, temperature: 0 };
}

/** A body: a damaged picture, a damaged value, damaged bytes, or all of it. */
export const http: Target = {
  name: "http",
  extension: ".json",
  input: (random) => {
    const picture = random.pick(pictures);
    const given = random.chance(0.3) ? mutateBytes(picture, random) : picture;
    const body = random.pick([
      sound,
      question,
      (one: Uint8Array) => withTools(one, false),
      (one: Uint8Array) => withTools(one, true),
    ])(given);
    const changed = random.chance(0.6) ? mutateValue(body, random) : body;
    const bytes = Buffer.from(JSON.stringify(changed));
    return random.chance(0.3) ? mutateBytes(bytes, random) : bytes;
  },
  run: async (_, input) => {
    const isAsk = Buffer.from(input).includes('"question"');
    const response = await app.request(isAsk ? "/v1/ask" : "/v1/chat/completions", {
      method: "POST",
      headers: { "content-type": "application/json" },
      body: Buffer.from(input),
    });
    const text = await response.text();
    if (response.status >= 500) throw new Error(`${response.status}: ${text}`);
    if (response.status !== 200 && !text.startsWith('{"error":{"message":"'))
      throw new Error(`a refusal that is none of the protocol: ${text}`);
    return text;
  },
};
