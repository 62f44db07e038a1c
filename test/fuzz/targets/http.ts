/** Bodies of requests, changed as values and as bytes, before a sampler that answers at once. */
import sharp from "sharp";
import type { Sampler } from "../../../src/engine/types.ts";
import { samplingOnly } from "../../../src/engine/capabilities.ts";
import { createApp } from "../../../src/serve/app.ts";
import { loadChatFormat } from "../../../src/text/chat.ts";
import { nanoPreprocessor } from "../../../src/nano/world.ts";
import { mutateBytes, mutateValue } from "../mutate.ts";
import type { Target } from "../target.ts";

const folder = new URL("../../../models/nano", import.meta.url).pathname;
const chat = await loadChatFormat(folder);
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
const budget = { minPixels: 12_544, maxPixels: 12_544 };
const app = createApp({
  sampler,
  format: { chat, preprocessor: nanoPreprocessor, budget },
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

/** A body: a damaged picture, a damaged value, damaged bytes, or all of it. */
export const http: Target = {
  name: "http",
  extension: ".json",
  input: (random) => {
    const picture = random.pick(pictures);
    const body = sound(random.chance(0.3) ? mutateBytes(picture, random) : picture);
    const changed = random.chance(0.6) ? mutateValue(body, random) : body;
    const bytes = Buffer.from(JSON.stringify(changed));
    return random.chance(0.3) ? mutateBytes(bytes, random) : bytes;
  },
  run: async (_, input) => {
    const response = await app.request("/v1/chat/completions", {
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
