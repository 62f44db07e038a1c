/** The remote sampler against our own API on a real port: what it asks, and what it makes of answers. */
import { afterEach, describe, expect, test } from "vitest";
import { createApp, type AppOptions } from "../../serve/app.ts";
import { runEpisode } from "../../task/episode.ts";
import { answerTurn, chat, digitRecord, smallConfig, zoomCall } from "../../task/fixtures/scene.ts";
import { ScriptedSampler, type Line } from "../../task/fixtures/scripted-sampler.ts";
import { countUses, episodeToDatum, toChunks } from "../../task/trajectory.ts";
import { numPositions, type SampleParams, type Sampler } from "../types.ts";
import {
  startFaultyServer,
  type FaultyServer,
  type ServerFault,
} from "./fixtures/faulty-server.ts";
import type { RemoteOptions } from "./options.ts";
import { openRemoteSampler } from "./sampler.ts";

const { tokenizer } = chat;
const params: SampleParams = {
  maxTokens: 64,
  temperature: 1,
  topP: 1,
  topK: 0,
  stop: ["</answer>"],
  seed: 1,
};

const open: { close(): Promise<void> }[] = [];
afterEach(async () => {
  for (const one of open.splice(0).reverse()) await one.close();
});

function scripted(...lines: Line[]) {
  return new ScriptedSampler(tokenizer, lines, 4096);
}

interface Setup {
  readonly fault?: (request: number) => ServerFault | null;
  readonly app?: Partial<AppOptions>;
  readonly remote?: Partial<RemoteOptions>;
}

async function connect(
  inner: Sampler,
  { fault, app, remote }: Setup = {},
): Promise<{ server: FaultyServer; sampler: Sampler }> {
  const format = smallConfig({});
  const server = await startFaultyServer(
    createApp({ sampler: inner, format, model: "m", ...app }),
    fault,
  );
  open.push(server);
  const sampler = await openRemoteSampler({
    baseUrl: server.url,
    model: "m",
    chat,
    retryDelayMs: 1,
    ...remote,
  });
  open.push(sampler);
  return { server, sampler };
}

function promptOf(open = "", question = "which digit?") {
  const messages = [{ role: "user" as const, content: question }];
  const pieces =
    open === ""
      ? chat.encodePrompt(messages, { addGenerationPrompt: true })
      : chat.encodePrompt([...messages, { role: "assistant", content: open }], {
          continueFinal: true,
        });
  return pieces.flatMap((piece) => (piece.type === "text" ? [piece] : []));
}

describe("an episode over HTTP", () => {
  const lines = [
    zoomCall(57, 83),
    // A stop string that closes nothing: the turn goes on behind it.
    '<think> "</answer>',
    '" closes nothing (1, 2) </think>\n<tool_call>\n{"name": 7}\n</tool_call>',
    zoomCall(20, 30),
    " 7 </answer>",
  ];
  const config = smallConfig({ episode: { maxTurns: 4 } });

  test("is the same, token for token, as without", async () => {
    const near = await runEpisode(scripted(...lines), digitRecord, config, 5);
    const served = scripted(...lines);
    const { sampler } = await connect(served);
    expect(sampler.capabilities).toMatchObject({
      name: "vigorl:m",
      tokenExact: true,
      maxPositions: 4096,
    });
    const far = await runEpisode(sampler, digitRecord, config, 5);
    expect({ ...far, seconds: 0 }).toEqual({ ...near, seconds: 0 });
    expect(far).toMatchObject({ stopReason: "answered", answer: "7", forced: true });
    expect(countUses(far)).toBe(2);
    expect(served.asked.at(-1)?.prompt).toEqual(toChunks(far.chunks.slice(0, -2)));
    expect(() => episodeToDatum(far)).not.toThrow();
  });

  test("with a server of the common protocol reads the same and is never trained on", async () => {
    const near = await runEpisode(scripted(...lines), digitRecord, config, 5);
    const { sampler, server } = await connect(scripted(...lines), { remote: { dialect: "plain" } });
    expect(sampler.capabilities.tokenExact).toBe(false);
    const far = await runEpisode(sampler, digitRecord, config, 5);
    const turns = near.turns.map((turn) => ({ ...turn, weightsVersion: -1 }));
    expect(far.turns).toEqual(turns);
    expect(far.answer).toBe("7");
    const said = far.chunks.filter((chunk) => chunk.author === "model");
    expect(said.every((chunk) => chunk.type === "text" && chunk.inexact === "text")).toBe(true);
    expect(() => episodeToDatum(far)).toThrow(/cannot be trained on/);
    const known = ["max_tokens", "messages", "model", "seed", "stream", "temperature", "top_p"];
    for (const request of server.requests) expect(Object.keys(request).sort()).toEqual(known);
    const { messages } = server.requests[server.requests.length - 1];
    const roles = (messages as { role: string }[]).map(({ role }) => role);
    expect(roles.slice(-2)).toEqual(["assistant", "user"]);
  });

  test("whose images the server resizes again is marked", async () => {
    const other = { minPixels: 50_176, maxPixels: 50_176 };
    const format = { ...smallConfig({}), budget: other };
    const { sampler } = await connect(scripted(answerTurn("7")), { app: { format } });
    const far = await runEpisode(sampler, digitRecord, smallConfig({}), 5);
    expect(far.answer).toBe("7");
    expect(() => episodeToDatum(far)).toThrow(/behind another prompt/);
  });
});

describe("a sample", () => {
  test("of a text that another tokenizer would cut otherwise keeps its ids", async () => {
    const ids = spelled("answer");
    const { sampler } = await connect(scripted([...ids, tokenizer.eosId]));
    const sample = await sampler.sample(promptOf(), params);
    expect(sample.tokens).toEqual([...ids, tokenizer.eosId]);
    expect(sample).toMatchObject({ stopReason: "eos", weightsVersion: 3 });
    expect(sample).not.toHaveProperty("inexact");
  });

  test("behind a prompt that no text gives is read with the ids it has", async () => {
    const [{ tokens }] = promptOf();
    const odd = [...tokens, ...spelled("answer")];
    const prompt = [{ type: "text" as const, tokens: odd }];
    const ours = await connect(scripted("x"));
    expect(await ours.sampler.sample(prompt, params)).not.toHaveProperty("inexact");
    const vllm = await connect(scripted("x"), { remote: { dialect: "vllm" } });
    expect((await vllm.sampler.sample(prompt, params)).inexact).toBe("prompt");
  });

  test.each([
    ["<answer> 7 </answer> and more", "stop", "<answer> 7 </answer>"],
    ["no tags", "eos", "no tags<|im_end|>"],
    [tokenizer.encode("word ".repeat(99)), "length", undefined],
  ] as const)("%j ends by %s", async (line, stopReason, text) => {
    for (const dialect of ["vigorl", "plain"] as const) {
      const { sampler } = await connect(scripted(line), { remote: { dialect } });
      const sample = await sampler.sample(promptOf(), params);
      expect(sample.stopReason).toBe(stopReason);
      if (text !== undefined) expect(tokenizer.decode(sample.tokens).startsWith(text)).toBe(true);
    }
  });

  test.each([
    ["vigorl", { continue_final_message: true, add_generation_prompt: false }],
    ["vllm", { continue_final_message: true, include_stop_str_in_output: true }],
    ["sglang", { continue_final_message: true, no_stop_trim: true, return_prompt_token_ids: true }],
    ["openai", { max_completion_tokens: 64 }],
  ] as const)("is asked of %s in its own words", async (dialect, words) => {
    const { sampler, server } = await connect(scripted("x"), {
      remote: { dialect, retries: 0 },
    });
    await sampler.sample(promptOf("<answer>"), params).catch(() => null);
    expect(server.requests[0]).toMatchObject(words);
  });

  test("brings what the server counts, where it is asked to and says so", async () => {
    const ours = await connect(scripted("<answer> 7 </answer>"), { remote: { dialect: "vigorl" } });
    const prompt = promptOf();
    const { usage, tokens } = await ours.sampler.sample(prompt, params);
    expect(ours.server.requests[0]).toMatchObject({ stream_options: { include_usage: true } });
    expect(usage).toEqual({ prompt: numPositions(prompt), generated: tokens.length });
    const plain = await connect(scripted("x"), { remote: { dialect: "plain" } });
    expect(await plain.sampler.sample(promptOf(), params)).not.toHaveProperty("usage");
    expect(plain.server.requests[0]).not.toHaveProperty("stream_options");
  });

  test("with top-k is refused where the server has none", async () => {
    const { sampler } = await connect(scripted("x"), { remote: { dialect: "plain" } });
    await expect(sampler.sample(promptOf(), { ...params, topK: 5 })).rejects.toThrow(/no top-k/);
  });

  test("never waits in more than `concurrency` requests", async () => {
    const inner = new ScriptedSampler(tokenizer, () => "x");
    const { sampler, server } = await connect(inner, { remote: { concurrency: 3 } });
    await Promise.all(Array.from({ length: 20 }, () => sampler.sample(promptOf(), params)));
    expect(server.requests).toHaveLength(20);
    expect(server.load.most).toBeLessThanOrEqual(3);
  });
});

/** A token a letter, as no tokenizer would write the word. */
function spelled(word: string): number[] {
  return word.split("").flatMap((letter) => tokenizer.encode(letter));
}
