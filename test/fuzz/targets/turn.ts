/** What models write: tags, thoughts, calls and answers, cut, nested and doubled. */
import { parseTurn } from "../../../src/text/grammar.ts";
import { judge, judgeProfiles } from "../../../src/task/judge.ts";
import type { Asked } from "../../../src/task/kinds.ts";
import { dialects } from "../../../src/text/dialects/table.ts";
import { scanPoints } from "../../../src/text/points.ts";
import { mutateBytes } from "../mutate.ts";
import type { Target } from "../target.ts";

const turns = [
  "<think> the red star (50, 50). </think>\n<answer> 7 </answer>",
  '<think> look (3, 4) </think>\n<tool_call>\n{"name": "search_coordinate", "arguments": {"coordinate": [3, 4]}}\n</tool_call>',
  '<tool_call>{"name": "zoom", "arguments": "{\\"bbox_2d\\": [1, 2, 1e308, 4], \\"label\\": \\"</tool_call>\\"}"}</tool_call>',
  "<tool_call>{'name': 'zoom', 'arguments': {'label': \"it's\"}}</tool_call><answer>x",
  "<think><think><answer>(1, 2)</answer></think>",
];

const questions: readonly Asked[] = [
  { kind: "text", answer: "cup" },
  { kind: "choice", answer: "left", choices: ["left", "right"] },
  { kind: "number", answer: "7" },
  { kind: "point", answer: { box: [0, 0, 2, 2] } },
  { kind: "action", answer: "click [12]" },
];

export const turn: Target = {
  name: "turn",
  extension: ".txt",
  input: (random) => {
    const text = Array.from({ length: random.int(1, 3) }, () => random.pick(turns)).join("");
    const grown = random.chance(0.02) ? text.repeat(2000) : text;
    return mutateBytes(Buffer.from(grown), random);
  },
  run: async (_, input) => {
    await Promise.resolve();
    const text = Buffer.from(input).toString("utf8");
    parseTurn(text);
    scanPoints(text);
    for (const dialect of Object.values(dialects)) {
      const { answer } = parseTurn(text, dialect);
      for (const asked of questions)
        for (const profile of judgeProfiles) judge(asked, answer?.text ?? text, { profile });
    }
  },
};
