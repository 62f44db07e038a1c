import { readFile } from "node:fs/promises";
import { describe, expect, test } from "vitest";
import { ReplyFault } from "../engine/reply-fault.ts";
import { deriveSeed } from "../core/random.ts";
import { numPositions } from "../engine/types.ts";
import { ChatFormat } from "../text/chat.ts";
import { conversationToChunks } from "./conversation.ts";
import type { EpisodeConfig } from "./episode-config.ts";
import { toModelImage } from "../image/model-image.ts";
import { runEpisode } from "./episode.ts";
import {
  answerTurn,
  chat,
  digitRecord,
  gradientImage,
  smallConfig,
  zoomCall,
} from "./fixtures/scene.ts";
import { ScriptedSampler, type Line } from "./fixtures/scripted-sampler.ts";
import { promptMessages } from "./prompt.ts";
import type { TaskRecord } from "./record.ts";
import { elsewhere } from "./tools/controls.ts";
import { episodeToDatum, toChunks, type Trajectory } from "./trajectory.ts";

const { tokenizer } = chat;

async function play(
  script: readonly Line[],
  settings: Parameters<typeof smallConfig>[0] = {},
  record: TaskRecord = digitRecord,
  maxPositions = 10_000,
): Promise<{ episode: Trajectory; sampler: ScriptedSampler }> {
  const sampler = new ScriptedSampler(tokenizer, script, maxPositions);
  const episode = await runEpisode(sampler, record, smallConfig(settings), 7);
  return { episode, sampler };
}

/** All of an episode but its clock, images by hash. */
function fingerprint(episode: Trajectory): string {
  const chunks = episode.chunks.map((chunk) =>
    chunk.type === "text" ? chunk : { ...chunk, image: chunk.image.hash },
  );
  return JSON.stringify({ ...episode, chunks, seconds: 0 });
}

/** The conversation as one text, images as their placeholder. */
function transcript(episode: Trajectory): string {
  return episode.chunks
    .map((chunk) => (chunk.type === "text" ? tokenizer.decode(chunk.tokens) : "<|image_pad|>"))
    .join("");
}

test("zoom, look, answer: the conversation of the template, token by token", async () => {
  const { episode, sampler } = await play([zoomCall(57, 83), answerTurn("7")]);
  expect(episode).toMatchObject({
    stopReason: "answered",
    answer: "7",
    wellFormed: true,
    error: null,
  });
  expect(transcript(episode)).toBe(
    "<|im_start|>system\nYou look closely and answer.<|im_end|>\n" +
      "<|im_start|>user\n<|vision_start|><|image_pad|><|vision_end|>which digit is on the red star?<|im_end|>\n" +
      `<|im_start|>assistant\n${zoomCall(57, 83)}<|im_end|>\n` +
      "<|im_start|>user\n<observation>\n<|vision_start|><|image_pad|><|vision_end|>\n</observation><|im_end|>\n" +
      `<|im_start|>assistant\n${answerTurn("7")}<|im_end|>`,
  );
  expect(episode.response).toBe(
    `${zoomCall(57, 83)}\nuser\n<observation>\n\n</observation>\nassistant\n${answerTurn("7")}`,
  );
  expect(episode.toolUses).toEqual([
    {
      tool: "zoom",
      turn: 0,
      reads: 0,
      place: { kind: "point", x: 57, y: 83 },
      at: { picture: 0, x: 57, y: 83 },
      gives: 1,
      text: "",
      fault: null,
      ends: false,
      control: null,
    },
  ]);
  expect(episode.pictures[1]).toMatchObject({
    id: 1,
    tool: "zoom",
    turn: 0,
    of: 0,
    box: [204, 308, 252, 356],
    widthPx: 112,
    heightPx: 112,
  });
  expect(episode.points).toMatchObject([{ picture: 0, turn: 0, x: 57, y: 83, inImage: true }]);
  expect(sampler.asked.map((asked) => asked.params.seed)).toEqual([
    deriveSeed(7, 0),
    deriveSeed(7, 1),
  ]);
});

test("each turn's prompt is the last one, what was sampled, and the observation", async () => {
  const { episode, sampler } = await play([zoomCall(57, 83), zoomCall(20, 20), answerTurn("7")]);
  const whole = toChunks(episode.chunks);
  const flat = (chunks: typeof whole) =>
    chunks.flatMap((chunk): (string | number)[] =>
      chunk.type === "text" ? [...chunk.tokens] : [chunk.image.hash],
    );
  for (const { prompt } of sampler.asked)
    expect(flat(whole).slice(0, flat([...prompt]).length)).toEqual(flat([...prompt]));
});

test("authors account for every position, and the datum weighs the model's tokens alone", async () => {
  const { episode } = await play([zoomCall(57, 83), answerTurn("7")]);
  const { prompt, model, environment, forced } = episode.numTokens;
  expect(prompt + model + environment + forced).toBe(numPositions(toChunks(episode.chunks)));
  expect(forced).toBe(0);
  const datum = episodeToDatum(episode);
  const length = numPositions(datum.chunks);
  expect(datum.weights).toHaveLength(length);
  expect(datum.weights.reduce((a, b) => a + b)).toBe(model);
  expect(datum.weights.at(-1)).toBe(1);
  const at = datum.weights.indexOf(1);
  expect(datum.oldLogprobs?.[at]).toBe(-1 / 8);
  expect(datum.oldLogprobs?.every((value, i) => (value !== 0) === (datum.weights[i] === 1))).toBe(
    true,
  );
});

test("the end of turn is the environment's after a stop string and the model's at its own end", async () => {
  const { episode: stopped } = await play([answerTurn("7")]);
  expect(stopped.chunks.at(-1)).toMatchObject({
    author: "environment",
    tokens: [chat.endOfTurnId],
  });
  const ownEnd = [...tokenizer.encode("<think> x </think><answer> 7"), chat.endOfTurnId];
  const { episode: ended } = await play([ownEnd]);
  expect(ended.chunks.at(-1)).toMatchObject({ author: "model" });
  expect(ended).toMatchObject({ stopReason: "answered", answer: "7", wellFormed: false });
});

describe("a bad call is told to the model and the episode goes on", () => {
  test.each([
    [zoomCall(500, 20), "outside"],
    [zoomCall(-1, 20), "outside"],
    ["<think> x </think><tool_call>{</tool_call>", "notJson"],
    [zoomCall(5, 5, "click"), "unknownTool"],
    ['<think> x </think><tool_call>{"name": "crop"}</tool_call>', "noPlace"],
  ] as const)("%s", async (line, fault) => {
    const { episode, sampler } = await play([line, answerTurn("7")]);
    expect(episode.stopReason).toBe("answered");
    expect(episode.toolUses).toMatchObject([{ fault, gives: null, at: null }]);
    expect(episode.pictures).toHaveLength(1);
    expect(transcript(episode)).toContain("<observation>\nno\n</observation><|im_end|>");
    expect(sampler.asked).toHaveLength(2);
  });
});

describe("every end has its name", () => {
  const cases: [string, Line[], Parameters<typeof smallConfig>[0], Trajectory["stopReason"]][] = [
    ["no action", ["I do not know"], {}, "noAnswer"],
    ["a call while the tool is off", [zoomCall(5, 5)], { tools: {} }, "noAnswer"],
    ["no turn left", [zoomCall(5, 5)], { episode: { maxTurns: 1 } }, "turnLimit"],
    ["no image left", [zoomCall(5, 5)], { episode: { maxToolImages: 0 } }, "imageLimit"],
    ["a long turn", [answerTurn("7")], { episode: { maxTokensPerTurn: 5 } }, "turnTokenLimit"],
    ["a long episode", [answerTurn("7")], { episode: { maxTotalTokens: 5 } }, "tokenLimit"],
    [
      "no tokens for the next turn",
      [zoomCall(5, 5), answerTurn("7")],
      { episode: { maxTotalTokens: 60 } },
      "tokenLimit",
    ],
    ["an image placeholder", [[tokenizer.imagePadId]], {}, "badOutput"],
    ["an id without a token", [[tokenizer.vocabSize]], {}, "badOutput"],
    ["an empty sample", [[]], {}, "badOutput"],
    ["an engine that fails", [new Error("cable cut")], {}, "samplerError"],
  ];
  test.each(cases)("%s", async (_, script, settings, stopReason) => {
    const { episode } = await play(script, settings);
    expect(episode.stopReason).toBe(stopReason);
    expect(episode.answer).toBeNull();
    expect(episode.wellFormed).toBe(false);
    expect(episode.error !== null).toBe(["badOutput", "samplerError"].includes(stopReason));
  });

  test("the model's positions are used up", async () => {
    const { episode: long } = await play([answerTurn("7")]);
    const positions = long.numTokens.prompt + 3;
    const { episode } = await play([answerTurn("7")], {}, digitRecord, positions);
    expect(episode.stopReason).toBe("contextLimit");
  });

  test("a prompt that has no room is told with its size, the limit and the keys", async () => {
    const { episode: fits } = await play([answerTurn("7")]);
    const { prompt } = fits.numTokens;
    const { episode, sampler } = await play([answerTurn("7")], {}, digitRecord, prompt);
    expect(episode).toMatchObject({ stopReason: "inputError", answer: null, turns: [] });
    expect(episode.error).toMatch(
      new RegExp(
        `digit-1: the prompt takes ${prompt} positions, \\d+ of them images; .* ${prompt} for`,
      ),
    );
    expect(sampler.asked).toEqual([]);
  });

  test("a reply that cannot be used ends it, and the engine has not failed", async () => {
    const { episode } = await play([new ReplyFault("the reply is empty")]);
    expect(episode).toMatchObject({ stopReason: "badOutput", error: "the reply is empty" });
  });

  test("a missing image", async () => {
    const record: TaskRecord = { ...digitRecord, images: [{ kind: "path", path: "/no/such.png" }] };
    const { episode } = await play([], {}, record);
    expect(episode).toMatchObject({ stopReason: "inputError", view: null });
    expect(episode.error).toMatch(/digit-1.*such\.png/);
  });
});

describe("a forced answer", () => {
  test("opens in the last turn, in our name", async () => {
    const settings = { episode: { maxTurns: 2 }, prompts: { forcedThink: "Now." } };
    const { episode, sampler } = await play([zoomCall(5, 5), " 7 </answer>"], settings);
    expect(episode).toMatchObject({ stopReason: "answered", answer: "7", forced: true });
    const forced = episode.chunks.find((chunk) => chunk.author === "forced");
    expect(forced?.type === "text" && tokenizer.decode(forced.tokens)).toBe(
      "<think> Now. </think>\n<answer>",
    );
    expect(episode.turns[1].text).toBe("<think> Now. </think>\n<answer> 7 </answer>");
    const last = sampler.asked[1].prompt.at(-1);
    expect(last?.type === "text" && tokenizer.decode(last.tokens)).toMatch(/<answer>$/);
    expect(episodeToDatum(episode).weights.reduce((a, b) => a + b)).toBe(episode.numTokens.model);
  });

  test("opens when the images are used up", async () => {
    const { episode } = await play([zoomCall(5, 5), "7 </answer>"], {
      episode: { maxToolImages: 1 },
    });
    expect(episode).toMatchObject({ stopReason: "answered", answer: "7", forced: true });
  });

  test("is left out where the recipe says so", async () => {
    const settings = { episode: { maxTurns: 2, forceAnswer: false } };
    const { episode } = await play([zoomCall(5, 5), zoomCall(50, 50)], settings);
    expect(episode.stopReason).toBe("turnLimit");
    expect(episode.numTokens.forced).toBe(0);
  });
});

test("a closing tag quoted in a thought does not end the turn", async () => {
  const { episode, sampler } = await play([
    "<think> I close with </answer> later",
    ` </think>\n<answer> 7 </answer>`,
  ]);
  expect(episode).toMatchObject({ stopReason: "answered", answer: "7" });
  expect(episode.turns).toHaveLength(1);
  expect(sampler.asked[1].params.seed).toBe(deriveSeed(7, 0, 1));
  const [first] = episode.chunks.filter((chunk) => chunk.author === "model");
  const spent = first.type === "text" ? first.tokens.length : 0;
  expect(sampler.asked[1].params.maxTokens).toBe(1024 - spent);
});

test.each([
  [
    "a label",
    ["</tool_call>", ' in it", "coordinate": [57, 83]}}\n</tool_call>'],
    `<think> a (57, 83) </think>\n<tool_call>\n{"name": "crop", "arguments": {"label": "`,
  ],
  [
    "a thought",
    [
      "<tool_call>{}</tool_call>",
      ` or look (57, 83) </think>\n${zoomCall(57, 83).split("\n").slice(1).join("\n")}`,
    ],
    "<think> I could write ",
  ],
])("a call quoted in %s does not end the turn", async (_, [quoted, rest], before) => {
  const { episode } = await play([before + quoted, rest, answerTurn("7")]);
  expect(episode).toMatchObject({ stopReason: "answered", answer: "7", wellFormed: true });
  expect(episode.turns.map((turn) => turn.text)).toEqual([before + quoted + rest, answerTurn("7")]);
  expect(episode.toolUses).toMatchObject([{ tool: "zoom", at: { x: 57, y: 83 }, fault: null }]);
});

test("without the tool a task is one turn; a whole reply can be the answer", async () => {
  const single = { tools: {} };
  const { episode } = await play([answerTurn("7")], single);
  expect(episode).toMatchObject({ stopReason: "answered", answer: "7", tools: [] });
  const { episode: whole, sampler } = await play(["7"], { ...single, answerForm: "whole" });
  expect(whole).toMatchObject({ stopReason: "answered", answer: "7" });
  expect(sampler.asked[0].params.stop).toEqual([]);
  expect(() => smallConfig({ answerForm: "whole" })).toThrow(/tools/);
});

test("the same seed gives the same bytes; another seed moves the sampling", async () => {
  const script = [zoomCall(57, 83), answerTurn("7")];
  const first = await play(script, { control: elsewhere });
  const second = await play(script, { control: elsewhere });
  expect(fingerprint(first.episode)).toBe(fingerprint(second.episode));
});

test("many episodes at once give what each gives alone", async () => {
  const lines = (seed: number): string[] => [zoomCall(seed * 7, 20), answerTurn(String(seed))];
  const run = (seed: number) =>
    runEpisode(new ScriptedSampler(tokenizer, lines(seed)), digitRecord, smallConfig({}), seed);
  const together = await Promise.all([1, 2, 3, 4].map(run));
  for (const [i, episode] of together.entries()) {
    const alone = await run(i + 1);
    expect(fingerprint(episode)).toBe(fingerprint(alone));
  }
});

test("a group that plays at once draws its image once, and shares it", async () => {
  let numDrawn = 0;
  const render = () => {
    numDrawn++;
    return gradientImage(448, 448);
  };
  const record: TaskRecord = { ...digitRecord, images: [{ kind: "render", name: "g", render }] };
  const config = smallConfig({});
  const run = (seed: number) =>
    runEpisode(new ScriptedSampler(tokenizer, [answerTurn("7")]), record, config, seed);
  const episodes = await Promise.all([1, 2, 3, 4].map(run));
  expect(numDrawn).toBe(1);
  const images = episodes.map(
    ({ chunks }) => chunks.find((chunk) => chunk.type === "image")?.image,
  );
  expect(new Set(images).size).toBe(1);
});

test("a broken image is tried again the next time", async () => {
  let numTries = 0;
  const render = () => {
    if (numTries++ === 0) throw new Error("disk asleep");
    return gradientImage(448, 448);
  };
  const record: TaskRecord = { ...digitRecord, images: [{ kind: "render", name: "g", render }] };
  const first = await play([answerTurn("7")], {}, record);
  expect(first.episode).toMatchObject({ stopReason: "inputError", error: "disk asleep" });
  const second = await play([answerTurn("7")], {}, record);
  expect(second.episode.stopReason).toBe("answered");
});

test("an abort is thrown, with its own reason", async () => {
  const sampler = new ScriptedSampler(tokenizer, [zoomCall(5, 5)]);
  const abort = new AbortController();
  abort.abort(new Error("stopped by hand"));
  const running = runEpisode(sampler, digitRecord, smallConfig({}), 7, { signal: abort.signal });
  await expect(running).rejects.toThrow("stopped by hand");
});

test("an abort while the engine samples is no sampler error", async () => {
  const abort = new AbortController();
  const sampler = new ScriptedSampler(tokenizer, () => {
    abort.abort(new Error("stopped by hand"));
    return new Error("cancelled");
  });
  const running = runEpisode(sampler, digitRecord, smallConfig({}), 7, { signal: abort.signal });
  await expect(running).rejects.toThrow("stopped by hand");
});

describe("a template that opens every thought itself", () => {
  /** What models of such templates write: their thought without its opening. */
  const spoken = (turn: string): string => turn.replace("<think> ", "");
  const thinking = async (): Promise<EpisodeConfig> => {
    const path = new URL("../text/fixtures/tokenizer/tokenizer_config.json", import.meta.url);
    const { chat_template } = JSON.parse(await readFile(path, "utf8")) as { chat_template: string };
    const header = "{{ '<|im_start|>assistant\\n' }}";
    expect(chat_template).toContain(header);
    const opened = chat_template.replace(header, "{{ '<|im_start|>assistant\\n<think>\\n' }}");
    return { ...smallConfig({}), chat: new ChatFormat(tokenizer, opened, "thinking") };
  };
  const scripted = (...turns: string[]) => new ScriptedSampler(tokenizer, turns.map(spoken));

  test("is read as if the model had opened them", async () => {
    const config = await thinking();
    expect(config.chat.opening).toBe("<think>\n");
    const sampler = scripted(zoomCall(57, 83), answerTurn("7"));
    const episode = await runEpisode(sampler, digitRecord, config, 7);
    expect(episode).toMatchObject({ stopReason: "answered", answer: "7", wellFormed: true });
    expect(episode.points).toHaveLength(1);
    expect(episode.toolUses).toHaveLength(1);
    expect(episode.response.match(/<think>\n/g)).toHaveLength(2);
    // The sampler is asked behind the opening, and what it did not write is not learned.
    const [first] = sampler.asked;
    const last = first.prompt.at(-1);
    const read = last?.type === "text" ? tokenizer.decode(last.tokens) : "";
    expect(read.endsWith("<|im_start|>assistant\n<think>\n")).toBe(true);
    const { chunks, weights } = episodeToDatum(episode);
    const ids = chunks.flatMap((chunk) =>
      chunk.type === "text" ? [...chunk.tokens] : Array<number>(chunk.image.numTokens).fill(-1),
    );
    const taught = tokenizer.decode(ids.filter((_, i) => weights[i] === 1));
    expect(taught).not.toContain("<think>");
    expect(taught).toContain("</think>");
  });

  test("is opened once where an answer is forced, and in written conversations", async () => {
    const config = await thinking();
    const forced = { ...config, limits: { ...config.limits, maxTurns: 2 } };
    const sampler = new ScriptedSampler(tokenizer, [spoken(zoomCall(57, 83)), " 7 </answer>"]);
    const episode = await runEpisode(sampler, digitRecord, forced, 7);
    expect(episode).toMatchObject({ stopReason: "answered", answer: "7" });
    expect(episode.turns[1]).toMatchObject({ forced: true });
    expect(episode.turns[1].text.match(/<think>/g) ?? []).toHaveLength(
      config.promptsFor("text").forcedThink === "" ? 0 : 1,
    );

    const asked = promptMessages(digitRecord, config.promptsFor("text"));
    const image = toModelImage(gradientImage(112, 112), config.budget, config.preprocessor);
    const told = { role: "assistant", content: answerTurn("7") } as const;
    const chain = conversationToChunks(config.chat, [...asked, told], [image]);
    const text = chain
      .map((chunk) => (chunk.type === "text" ? tokenizer.decode(chunk.tokens) : ""))
      .join("");
    expect(text.endsWith(`assistant\n<think>\n${spoken(answerTurn("7"))}<|im_end|>`)).toBe(true);
    const silent = { role: "assistant", content: "<answer> 7 </answer>" } as const;
    expect(() => conversationToChunks(config.chat, [...asked, silent], [image])).toThrow(
      /does not begin with <think>/,
    );
  });
});
