/** Trees of the published search into single-turn chains. */
import type { Rng } from "../../../src/core/random.ts";
import { repoChains } from "../../../src/search/linearize-repo.ts";
import { fromRepoRecord, repoRecordSchema } from "../../../src/search/repo-trees.ts";
import type { Kind } from "../kind.ts";
import { disturbed, thought } from "../words.ts";

interface Theirs {
  thought_text: string;
  is_terminal: boolean;
  value: number;
  visit_count: number;
  rollouts: { final_answer: string; reward: number; ephemeral_texts: string[] }[];
  children: Theirs[];
}

interface Input {
  readonly id: number;
  readonly question: string;
  readonly true_answer: string;
  readonly tree: Theirs;
}

const correction = "That was wrong.";

export const chains: Kind<Input> = {
  name: "chains",
  isLarge: true,
  make(random, style) {
    const isOdd = style === "hostile";
    const question = random.pick([
      "<image>\nWhich side?",
      "<image> Which side?",
      "Which side? <image>",
    ]);
    const odd = ["Which side?", "Which <image> side?", "<image>", ""];
    const asked = isOdd && random.chance(0.3) ? random.pick(odd) : question;
    const answer = random.pick(["left", "right", "(12, 30)"]);
    const tree = nodeOf([asked], asked, random, isOdd, 0);
    return { id: 1, question: asked, true_answer: answer, tree };
  },
  ask: (record) => [record, correction],
  ours: (record) =>
    repoChains(fromRepoRecord(repoRecordSchema.parse(record), { kind: "text" }), correction)
      .map(({ text }) => text)
      .toSorted(),
  read: (published) => (Array.isArray(published) ? (published as string[]).toSorted() : published),
  differences: [
    {
      reason:
        "the question's own text is never a thought (the published one is, without <image> at an end)",
      covers: ({ question }) => !question.startsWith("<image>") && !question.endsWith("<image>"),
    },
  ],
};

function nodeOf(path: string[], text: string, random: Rng, isOdd: boolean, depth: number): Theirs {
  const odd = (said: string) => (isOdd && random.chance(0.25) ? disturbed(said, random) : said);
  const rollouts = Array.from({ length: depth === 0 ? 0 : random.int(1, 3) }, () => {
    const steps = Array.from({ length: random.int(0, 2) }, () => odd(thinkOf(random)));
    const said = random.pick(["left", "right", "A. left", "(12, 30)"]);
    const form = random.pick([`<answer> ${said} </answer>`, `<answer>${said}</answer>`]);
    const isCut = random.chance(isOdd ? 0.2 : 0.05);
    const texts = [...path, ...steps, ...(isCut ? [] : [odd(form)])];
    const reward = random.chance(0.5) ? 1 : 0;
    return { final_answer: said, reward, ephemeral_texts: texts };
  });
  const numChildren = depth >= 2 ? 0 : random.int(depth === 0 ? 1 : 0, 2);
  const children = Array.from({ length: numChildren }, () => {
    if (random.chance(0.2)) return answerNode(path, random);
    const think = odd(thinkOf(random));
    return nodeOf([...path, think], think, random, isOdd, depth + 1);
  });
  const value = random.chance(0.2) ? 0 : 0.5;
  return { thought_text: text, is_terminal: false, value, visit_count: 3, rollouts, children };
}

function answerNode(path: string[], random: Rng): Theirs {
  const answer = random.pick(["left", "right", "(12, 30)"]);
  const reward = random.chance(0.5) ? 1 : 0;
  const rollout = { final_answer: answer, reward, ephemeral_texts: [...path, answer] };
  return {
    thought_text: answer,
    is_terminal: true,
    value: reward,
    visit_count: 2,
    rollouts: [rollout, rollout],
    children: [],
  };
}

function thinkOf(random: Rng): string {
  return `<think>${random.pick([" ", "\n", ""])}${thought(random, 2)} </think>`;
}
