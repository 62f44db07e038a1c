import { expect, test } from "vitest";
import { chat, digitRecord, smallConfig } from "../task/fixtures/scene.ts";
import { judge } from "../task/judge.ts";
import { answerView } from "../task/prompt.ts";
import type { TaskRecord } from "../task/record.ts";
import { episodeToDatum } from "../task/trajectory.ts";
import { openScene } from "../task/turn.ts";
import { answerExamples } from "./answer-examples.ts";
import { sftSchema } from "./sft-config.ts";

const direct = smallConfig({ tools: {}, answerForm: "whole", prompts: { style: "direct" } });

async function taught(record: TaskRecord, config = direct): Promise<string> {
  const [example] = await answerExamples([record], config);
  const { chunks } = example;
  const tokens = chunks.flatMap((chunk) =>
    chunk.type === "text" && chunk.author === "model" ? chunk.tokens : [],
  );
  const trained = episodeToDatum(example).weights.filter((weight) => weight === 1);
  expect(trained).toHaveLength(tokens.length);
  expect(tokens.at(-1)).toBe(chat.endOfTurnId);
  return chat.tokenizer.decode(tokens, { skipSpecial: true });
}

test("the answer is all that is trained, and the end of the turn behind it", async () => {
  expect(await taught(digitRecord)).toBe(String(digitRecord.answer as string));
  const tagged = smallConfig({ tools: {}, prompts: { style: "direct" } });
  expect(await taught(digitRecord, tagged)).toBe(
    `<answer> ${digitRecord.answer as string} </answer>`,
  );
});

test.each(["resized", "relative"] as const)(
  "a point is right in %s coordinates",
  async (coordinates) => {
    const config = smallConfig({ tools: {}, answerForm: "whole", coordinates });
    for (const answer of [{ box: [200, 40, 260, 90] }, { point: [33, 300], radius: 9 }] as const) {
      const record: TaskRecord = { ...digitRecord, kind: "point", answer };
      const said = await taught(record, config);
      expect(said).toMatch(/^\(\d+, \d+\)$/);
      const { pictures } = await openScene(record, config);
      expect(judge(record, said, { view: answerView(config, pictures[0]) })).toBe(1);
    }
  },
);

test("tools, chains and a collecting engine do not go with answers", async () => {
  await expect(answerExamples([digitRecord], smallConfig({}))).rejects.toThrow("offers tools");
  const refusal = (more: object) =>
    sftSchema.safeParse({ from: "answers", ...more }).error?.message;
  expect(refusal({})).toBeUndefined();
  expect(refusal({ chains: { from: "runs/x" } })).toContain("give one of the two");
  const engine = { kind: "openai", url: "http://127.0.0.1:1" };
  expect(refusal({ collect: { engine } })).toContain("nobody plays episodes");
});
