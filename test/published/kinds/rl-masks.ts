/** Which tokens of a multi-turn episode RL learns from. */
import type { Rng } from "../../../src/core/random.ts";
import { runEpisode } from "../../../src/task/episode.ts";
import { chat, digitRecord, smallConfig, zoomCall } from "../../../src/task/fixtures/scene.ts";
import { ScriptedSampler } from "../../../src/task/fixtures/scripted-sampler.ts";
import { episodeToDatum, type AuthoredChunk } from "../../../src/task/trajectory.ts";
import { withForcedTokens } from "../../../src/train/forced-tokens.ts";
import type { Kind } from "../kind.ts";
import { disturbed, thought } from "../words.ts";

/** What the model says, turn by turn. */
type Input = readonly string[];

const config = smallConfig({
  zoom: { mode: "repo" },
  episode: { maxTurns: 5, maxToolImages: 4, maxTotalTokens: 4000, maxTokensPerTurn: 900 },
});

export const rlMasks: Kind<Input> = {
  name: "rl-masks",
  isLarge: true,
  make(random, style) {
    const calls = Array.from({ length: random.int(0, 5) }, () => callTurn(random));
    const answer = `<think> ${thought(random, 2)} </think>\n<answer> ${random.int(0, 9)} </answer>`;
    const said = [...calls, answer];
    if (style === "model-like") return said;
    return said.map((text) => (random.chance(0.3) ? disturbed(text, random) : text));
  },
  async ask(script) {
    const chunks = await played(script);
    const numPrompt = chunks.filter(({ author }) => author === "prompt").flatMap(idsOf).length;
    return [chunks.flatMap(idsOf), numPrompt];
  },
  async ours(script) {
    const chunks = await played(script);
    const episode = { id: "one", task: "", category: "", chunks };
    const { weights } = episodeToDatum(withForcedTokens(episode, chat));
    return chunks.flatMap(idsOf).map((_, i) => weights[i] ?? 0);
  },
  differences: [
    {
      reason: "tokens are told apart by who wrote them, not by what they look like",
      covers: (script) => script.some((text) => /observation|<\||^\s/.test(text)),
    },
  ],
};

function callTurn(random: Rng): string {
  const call = zoomCall(random.int(0, 111), random.int(0, 111));
  return random.chance(0.5)
    ? call
    : call.replace(/<think>[^]*?<\/think>/, `<think> ${thought(random, 2)} </think>`);
}

async function played(script: Input): Promise<readonly AuthoredChunk[]> {
  const sampler = new ScriptedSampler(chat.tokenizer, script);
  return (await runEpisode(sampler, digitRecord, config, 1)).chunks;
}

/** The ids of a chunk; a picture's are its placeholders. */
export function idsOf(chunk: AuthoredChunk): readonly number[] {
  if (chunk.type === "text") return chunk.tokens;
  return Array.from({ length: chunk.image.numTokens }, () => chat.tokenizer.vision.image!);
}
