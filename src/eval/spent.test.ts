import { expect, test } from "vitest";
import type { Price } from "../engine/remote/price.ts";
import { openaiSchema } from "../engine/openai/options.ts";
import { priceOf, resolveEngine } from "../engine/open.ts";
import { countUses, usageOf } from "../task/trajectory.ts";
import { runEpisode } from "../task/episode.ts";
import { answerTurn, chat, digitRecord, smallConfig, zoomCall } from "../task/fixtures/scene.ts";
import { ScriptedSampler } from "../task/fixtures/scripted-sampler.ts";
import { armOf } from "./count.ts";
import type { Outcome } from "./outcome.ts";
import { reportMarkdown, reportText } from "./report.ts";
import { grouped, money, Spending, spentText } from "./spent.ts";

const outcome: Outcome = {
  recordId: "q",
  category: null,
  score: 1,
  answer: "x",
  toolUses: 2,
  tokens: { written: 10, read: 100 },
  stopReason: "answered",
  error: null,
  reply: { text: "x", view: null },
};
const spentOn = (usages: Outcome["usage"][], price?: Price) => {
  const spending = new Spending();
  for (const usage of usages) spending.add({ usage, toolUses: 2 });
  return spending.total(9, price);
};
const price = { prompt: 2.5, generated: 10, currency: "EUR" };
const usage = { calls: 3, prompt: 1_200_000, generated: 40_000 };

test("every call of an episode reads anew what stands before it", async () => {
  const script = [zoomCall(3, 4), zoomCall(5, 6), answerTurn("7")];
  const sampler = new ScriptedSampler(chat.tokenizer, script);
  const episode = await runEpisode(
    sampler,
    digitRecord,
    smallConfig({ episode: { maxTurns: 5 } }),
    1,
  );
  expect(countUses(episode)).toBe(2);
  const { prompt, environment, model, forced } = episode.numTokens;
  const spent = usageOf(episode.chunks);
  expect(spent).toMatchObject({ calls: 3, generated: model });
  expect(spent.prompt).toBeGreaterThan(2 * prompt + environment + forced);
  const before = episode.chunks.flatMap((chunk, i) =>
    chunk.author === "model" ? [episode.chunks.slice(0, i)] : [],
  );
  const lengths = before.map((chunks) =>
    chunks.reduce(
      (n, one) => n + (one.type === "text" ? one.tokens.length : one.image.numTokens),
      0,
    ),
  );
  expect(spent.prompt).toBe(lengths.reduce((a, b) => a + b));
});

test("what a server counts goes before what is counted here", () => {
  const text = { type: "text", turn: 0, tokens: [1, 2, 3] } as const;
  const own = { ...text, author: "model" } as const;
  const prompt = { ...text, author: "prompt" } as const;
  expect(usageOf([prompt, own])).toEqual({ calls: 1, prompt: 3, generated: 3 });
  const told = { ...own, usage: { prompt: 900, generated: 70 } };
  expect(usageOf([prompt, told, prompt, own])).toEqual({ calls: 2, prompt: 909, generated: 73 });
});

test("without a price there is no cost, not 0; old runs did not count", () => {
  const free = spentOn([usage, usage]);
  expect(free).toEqual({
    calls: 6,
    promptTokens: 2_400_000,
    generatedTokens: 80_000,
    toolUses: 4,
    seconds: 9,
  });
  expect(spentOn([usage, usage], price)).toEqual({
    ...free,
    price,
    cost: 2.4 * 2.5 + 0.08 * 10,
  });
  expect(spentOn([usage, undefined], price)).toBeNull();
});

test("every form of the report shows it, with a cost where there is a price", () => {
  const shown = (arms: Parameters<typeof armOf>[2][]) => {
    const report = {
      version: 1 as const,
      title: "r",
      command: "c",
      createdAt: "d",
      facts: {},
      arms: arms.map((evaluation, i) => armOf(`arm${i}`, "t", evaluation)),
      comparisons: [],
      curves: [],
    };
    return [reportMarkdown(report), reportText(report)];
  };
  const evaluation = { outcomes: [outcome], seconds: 9, spent: spentOn([usage]) };
  for (const text of shown([evaluation])) {
    expect(text).toMatch(/arm0[ |]+t[ |]+3[ |]+1,200,000[ |]+40,000[ |]+2[ |]+9\.0/);
    expect(text).not.toMatch(/cost/);
  }
  for (const text of shown([evaluation, { ...evaluation, spent: spentOn([usage], price) }]))
    expect(text).toMatch(/arm1[ |]+t[ |]+3[ |]+1,200,000[ |]+40,000[ |]+2[ |]+9\.0[ |]+3\.40 EUR/);
  const line = spentText(spentOn([usage], price)!);
  expect(line).toBe("1,200,000 prompt tokens, 40,000 generated, 2 tool uses, 9 s, 3.40 EUR");
});

test.each([
  [0, "0.00 USD"],
  [0.000123, "0.00012 USD"],
  [0.0456, "0.046 USD"],
  [12.345, "12.35 USD"],
])("money is written so that it shows: %d", (cost, text) => {
  expect(money(cost, { currency: "USD" })).toBe(text);
});

test("numbers are written in groups", () => {
  expect(grouped(1_234_567)).toBe("1,234,567");
});

test("a price belongs to a server's section, and is kept when it is resolved", async () => {
  const section = { kind: "openai", url: "http://localhost:1/v1", model: "m", server: "plain" };
  const config = openaiSchema.parse({
    ...section,
    maxPositions: 9,
    price: { prompt: 1, generated: 2 },
  });
  const resolved = await resolveEngine(config);
  expect(priceOf(resolved)).toEqual({ prompt: 1, generated: 2, currency: "USD" });
  expect(priceOf(openaiSchema.parse(section))).toBeUndefined();
  expect(() => openaiSchema.parse({ ...section, price: { prompt: -1, generated: 2 } })).toThrow(
    /price/,
  );
  expect(() => openaiSchema.parse({ ...section, price: { prompt: 1 } })).toThrow(/generated/);
});
