import { describe, expect, test } from "vitest";
import { chat, digitRecord, smallConfig } from "../task/fixtures/scene.ts";
import { judge } from "../task/judge.ts";
import { answerView } from "../task/prompt.ts";
import type { TaskRecord } from "../task/record.ts";
import type { EpisodeConfig } from "../task/episode-config.ts";
import { episodeToDatum, type Transcript } from "../task/trajectory.ts";
import { openScene } from "../task/turn.ts";
import { parseTurn } from "../text/grammar.ts";
import { answerExamples } from "./answer-examples.ts";
import { answersSchema } from "./answers-config.ts";
import { sftSchema } from "./sft-config.ts";

const direct = smallConfig({ tools: {}, answerForm: "whole", prompts: { style: "direct" } });

async function taught(record: TaskRecord, config = direct): Promise<string> {
  const {
    examples: [example],
  } = await answerExamples([record], config, answersSchema.parse({}), true);
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

describe("what stands before the answer", () => {
  const withTool = smallConfig({ tools: { zoom: { windowPx: 8, outputPx: 112 } } });
  const plain = smallConfig({ tools: {} });
  const evidence = [{ box: [200, 40, 260, 90] }, { point: [33, 300] }] as const;
  const records: TaskRecord[] = [digitRecord, { ...digitRecord, id: "seen", evidence }];
  const make = (config: EpisodeConfig, more: object = {}) =>
    answerExamples(records, config, answersSchema.parse(more), false);
  const turns = ({ chunks }: Transcript) =>
    chunks.flatMap((chunk) =>
      chunk.type === "text" && chunk.author === "model"
        ? [chat.tokenizer.decode([...chunk.tokens], { skipSpecial: true })]
        : [],
    );

  test("a thought, or one at the places of the evidence", async () => {
    const { examples, forms } = await make(plain);
    expect(forms).toEqual({ thought: 1, grounded: 1 });
    const answer = `<answer> ${digitRecord.answer as string} </answer>`;
    expect(turns(examples[0])).toEqual([`<think>\nI look at the image.\n</think>\n${answer}`]);
    expect(turns(examples[1])).toEqual([
      expect.stringMatching(
        /^<think>\nI look at \(\d+, \d+\)\. I look at \(\d+, \d+\)\.\n<\/think>\n/,
      ),
    ]);
  });

  test("with the tool a zoom at each place, whose picture is what an episode would show", async () => {
    const { examples, forms } = await make(withTool);
    expect(forms).toEqual({ thought: 1, look: 1 });
    const said = turns(examples[1]);
    expect(said).toHaveLength(3);
    expect(said[0]).toContain('<tool_call>\n{"name": "search_coordinate"');
    const images = examples[1].chunks.filter((chunk) => chunk.type === "image");
    expect(images).toHaveLength(3);
    // As episodes and rewards read it.
    const parsed = said.map((text) => parseTurn(text));
    expect(parsed.every((turn) => turn.wellFormed)).toBe(true);
    const [call] = parsed.flatMap(({ toolCall }) => (toolCall?.ok === true ? [toolCall.call] : []));
    const [point] = parsed[0].points;
    expect(call.args).toEqual({ coordinate: [point.x, point.y] });
  });

  test("a form that there is nothing for is refused by name", async () => {
    await expect(make(plain, { form: "look" })).rejects.toThrow(
      /record digit.* has no evidence|has no evidence/,
    );
    await expect(make(withTool, { form: "bare" })).rejects.toThrow("the recipe offers tools");
    const whole = smallConfig({ tools: {}, answerForm: "whole" });
    await expect(make(whole, { form: "thought" })).rejects.toThrow("answerForm is whole");
  });
});

test("one source of examples at a time", () => {
  const refusal = (more: object) => sftSchema.safeParse(more).error?.message;
  expect(refusal({ from: "answers" })).toBeUndefined();
  expect(refusal({ from: "answers", chains: { from: "runs/x" } })).toContain("give one of the two");
  expect(refusal({ from: "chains" })).toContain("sft.chains.from");
  expect(sftSchema.parse({ chains: { from: "runs/x" } }).from).toBe("chains");
  const engine = { kind: "openai", url: "http://127.0.0.1:1" };
  expect(refusal({ from: "answers", collect: { engine } })).toContain("nobody plays episodes");
});
