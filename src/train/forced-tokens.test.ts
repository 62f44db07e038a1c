import { expect, test } from "vitest";
import { runEpisode } from "../task/episode.ts";
import { answerTurn, chat, digitRecord, smallConfig, zoomCall } from "../task/fixtures/scene.ts";
import { ScriptedSampler } from "../task/fixtures/scripted-sampler.ts";
import { forcedAnswerPrefix } from "../text/grammar.ts";
import { episodeToDatum, toChunks, type Transcript } from "../task/trajectory.ts";
import { selectEpisodes } from "./batch.ts";
import { withForcedTokens } from "./forced-tokens.ts";
import { rlSchema } from "./rl-config.ts";

const config = smallConfig({ episode: { maxTurns: 2, maxToolImages: 1 } });
const played = (script: readonly string[]) =>
  runEpisode(new ScriptedSampler(chat.tokenizer, script), digitRecord, config, 1);

/** What is learned from, in words. */
function taught(episode: Transcript): string {
  const { weights } = episodeToDatum(episode);
  const ids = toChunks(episode.chunks).flatMap((chunk) =>
    chunk.type === "text" ? chunk.tokens : Array<number>(chunk.image.numTokens).fill(-1),
  );
  return chat.tokenizer.decode(ids.filter((id, i) => id >= 0 && weights[i] === 1));
}

test("ends of turns, the line break between turns and the forced opening, as published", async () => {
  const episode = await played([zoomCall(5, 6), " 7 </answer>"]);
  expect(episode.forced).toBe(true);
  const said = taught(episode);
  const { forcedThink } = config.promptsFor("text");
  const opening = forcedAnswerPrefix(forcedThink);
  expect(said).toBe(`${zoomCall(5, 6)} 7 </answer>`);
  expect(taught(withForcedTokens(episode, chat))).toBe(
    `${zoomCall(5, 6)}<|im_end|>\n${opening} 7 </answer><|im_end|>`,
  );
});

test("the tokens stay, and the sampler is compared where it chose them", async () => {
  const episode = await played([answerTurn("7")]);
  const reward = { total: 1, accuracy: 1, terms: {}, values: {} } as never;
  const other = {
    episode,
    record: digitRecord,
    member: 1,
    reward: { ...(reward as object), total: 0 },
  };
  const group = [{ ...other, member: 0, reward }, other] as never;
  const select = (forced: typeof chat | null) =>
    selectEpisodes([group], rlSchema.parse({ profile: "repo-multi" }), forced).episodes_N[0];
  const [plain, forced] = [select(null), select(chat)];
  const length = plain.datum.weights.length;
  expect(forced.datum.weights).toHaveLength(length + 1);
  expect(forced.datum.weights.at(-1)).toBe(1);
  expect([...forced.chosen_T]).toEqual([...plain.datum.weights, 0]);
  expect([...forced.logprobs_T]).toEqual([...plain.logprobs_T, 0]);
});

test("a sampler's correction has nothing to say of such tokens", () => {
  expect(rlSchema.parse({ profile: "repo-multi" }).trainForced).toBe(true);
  expect(() => rlSchema.parse({ trainForced: true })).toThrow(/never/);
});
