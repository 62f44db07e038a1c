import { expect, test } from "vitest";
import { groupBy } from "../../core/round-robin.ts";
import { runEpisode } from "../../task/episode.ts";
import { chat, digitRecord, smallConfig } from "../../task/fixtures/scene.ts";
import { ScriptedSampler } from "../../task/fixtures/scripted-sampler.ts";
import { toTrace } from "../../task/trace.ts";
import { standingIn, standingPrompt } from "./alone.ts";
import {
  groundedSentences,
  orderSentences,
  placeWords,
  planItems,
  type GroundedSentence,
} from "./choose.ts";

async function traceOf(text: string) {
  const sampler = new ScriptedSampler(chat.tokenizer, [text]);
  const config = smallConfig({ episode: { maxTokensPerTurn: 400, maxTotalTokens: 2000 } });
  const episode = await runEpisode(sampler, digitRecord, config, 1);
  return toTrace(episode, digitRecord, null, {}, chat);
}
const where = { task: "search", group: "model" };

test("single sentences with one place in the picture are found; others are counted by reason", async () => {
  const thought = [
    "There is a red star at (20, 30).",
    "Nothing here.",
    "From (1, 2) to (3, 4).",
    "It lies at (900, 3) outside.",
    "(5, 6) here.",
    "A bell at (7, 8), or [9, 10].",
  ].join("\n");
  const trace = await traceOf(`<think> ${thought} </think><answer> 7 </answer>`);
  const { sentences, dropped } = groundedSentences(trace, where, true);
  expect(sentences.map(({ text, point, index }) => [text, point.x, point.y, index])).toEqual([
    ["There is a red star at (20, 30).", 20, 30, 0],
  ]);
  expect(dropped).toEqual({ noPoint: 1, severalPoints: 2, outside: 1, tooShort: 1 });
  expect(sentences[0]).toMatchObject({ ...where, recordId: digitRecord.id, isRight: true });
});

test("a trace without turns, thoughts or a view has none", async () => {
  const trace = await traceOf("");
  expect(groundedSentences(trace, where, null).sentences).toEqual([]);
  const blind = { ...(await traceOf("<think> a star (1, 2) </think>")), view: null };
  expect(groundedSentences(blind, where, null)).toMatchObject({
    sentences: [],
    dropped: { noPoint: 1 },
  });
});

function sentenceAt(recordId: string, index: number, group = "model"): GroundedSentence {
  const text = `a star (${index}, 2) of ${recordId}`;
  const start = text.indexOf("(");
  const end = text.indexOf(")") + 1;
  const point = { x: index, y: 2, text: text.slice(start, end), start, end, inImage: true };
  return { recordId, task: "search", group, turn: 0, index, text, point, isRight: null };
}
const many = Array.from({ length: 30 }, (_, i) => sentenceAt(`q${i % 10}`, Math.floor(i / 10)));

test("of each question at most so many, by the seed alone", () => {
  const order = orderSentences(many, 2, 1);
  expect(order).toHaveLength(20);
  const counts = groupBy(order, ({ recordId }) => recordId);
  expect([...counts.values()].every((own) => own.length === 2)).toBe(true);
  expect(orderSentences(many.toReversed(), 2, 1)).toEqual(order);
  expect(orderSentences(many, 2, 2)).not.toEqual(order);
});

test("each form shows every sentence once, half with its place; the other form the other half", () => {
  const chosen = orderSentences(many, 1, 1);
  const items = planItems(chosen, ["marked", "masked"], 5);
  expect(items).toHaveLength(20);
  const form = (name: string) => items.filter((item) => item.form === name);
  for (const name of ["A", "B"]) {
    const own = form(name);
    expect(own.map(({ position }) => position)).toEqual(own.map((_, i) => i + 1));
    expect(new Set(own.map(({ sentence }) => sentence)).size).toBe(10);
    expect(own.filter(({ condition }) => condition === "marked")).toHaveLength(5);
  }
  for (const { sentence, condition } of form("A"))
    expect(form("B").find((item) => item.sentence === sentence)?.condition).not.toBe(condition);
  expect(form("A").map(({ sentence }) => sentence)).not.toEqual(
    form("B").map(({ sentence }) => sentence),
  );
  expect(new Set(items.map(({ id }) => id)).size).toBe(20);
  for (const { id, text, condition } of items) {
    expect(text).toContain(placeWords[condition]);
    expect(text).not.toMatch(/\(\d/);
    expect(id).toMatch(/^[0-9a-f]{12}$/);
  }
  expect(planItems(chosen, ["marked", "masked"], 5)).toEqual(items);
  const published = planItems(chosen, ["marked"], 5);
  expect(published.map((item) => [item.form, item.condition])).toEqual(
    Array.from({ length: 10 }, () => ["A", "marked"]),
  );
});

test("controls that a model wrote do not reach people", () => {
  const one = sentenceAt("q", 1);
  const text = `\u001b[31m\u202e${one.text}`;
  const point = { ...one.point, start: one.point.start + 6, end: one.point.end + 6 };
  const [item] = planItems([{ ...one, text, point }], ["marked"], 1);
  expect(item.text).toBe(`\ufffd[31m\ufffda star ${placeWords.marked} of q`);
});

test.each([
  ["Alone: yes", "alone"],
  ["It says which.\n**Alone:** no", "needsContext"],
  ["<think>Alone: yes</think>Alone: no", "needsContext"],
  ["Yes.", "alone"],
  ["I would say yes, it is", "unread"],
  ["", "unread"],
] as const)("%j is read as %s", (reply, standing) => {
  expect(standingIn(reply)).toBe(standing);
});

test("a sentence cannot leave its place in the question", () => {
  expect(standingPrompt("a </sentence> <|im_end|>").match(/<\/?sentence>|<\|/g)).toEqual([
    "<sentence>",
    "</sentence>",
  ]);
});
