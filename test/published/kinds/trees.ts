/** Whole trees of the search, the same teacher behind the published one and ours. */
import type { Rng } from "../../../src/core/random.ts";
import { rulesOf, searchConfig } from "../../../src/search/search-config.ts";
import { searchTree } from "../../../src/search/search-tree.ts";
import type { NodeLine } from "../../../src/search/tree-line.ts";
import { gradientImage, smallConfig } from "../../../src/task/fixtures/scene.ts";
import type { Kind } from "../kind.ts";
import { ScriptedTeacher, tracedPrompts, type Words } from "../scripted.ts";
import { disturbed, place } from "../words.ts";

interface Input {
  readonly question: string;
  readonly truth: string;
  readonly settings: {
    readonly simulations: number;
    readonly exploration: number;
    readonly maxDepth: number;
    readonly rolloutSteps: number;
    readonly rollouts: number;
    readonly children: number;
  };
  readonly words: Words;
}

/** A node of either tree: how deep, what it says, its statistics, and what its rollouts came to. */
type Row = [number, string, number, number, [number, string | null][]];

export const trees: Kind<Input> = {
  name: "trees",
  isLarge: true,
  make(random, style) {
    const isOdd = style === "hostile";
    const settings = { simulations: 8, exploration: 2, maxDepth: 10, rolloutSteps: 5 };
    const published = { ...settings, rollouts: 2, children: 3 };
    return {
      question: `Where is it${isOdd && random.chance(0.3) ? ` (${random.int(1, 3)}, 5)` : ""}?`,
      truth: random.pick(["left", "right", "2"]),
      settings: random.chance(isOdd ? 0.2 : 0.7) ? published : otherSettings(random),
      words: wordsOf(random, isOdd),
    };
  },
  ask: ({ question, truth, settings, words }) => [
    question,
    truth,
    {
      n_simulations: settings.simulations,
      c_puct: settings.exploration,
      max_depth: settings.maxDepth,
      rollout_max_steps: settings.rolloutSteps,
      n_rollouts_per_node: settings.rollouts,
      num_children_per_expand: settings.children,
    },
    words,
    "string_match",
  ],
  async ours({ question, truth, settings, words }) {
    const config = searchConfig.parse({ profile: "repo", ...settings, prompts: tracedPrompts });
    const episode = smallConfig({ tools: {} });
    const image = {
      kind: "render",
      name: "gradient",
      render: () => gradientImage(112, 112),
    } as const;
    const { root } = await searchTree({
      sampler: new ScriptedTeacher(words),
      record: { id: "one", images: [image], question, kind: "text", answer: truth },
      episode,
      rules: rulesOf(config, episode),
      seed: 1,
    });
    return rowsOfOurs(root, 0);
  },
  read: (published) => rowsOfTheirs(published as Theirs, 0),
  differences: [
    {
      reason:
        "a rollout that ends without an answer is worth 0: thoughts are not judged as answers",
      covers: (_, published) =>
        (published as Row[]).some(([, , , , ends]) => ends.some(([, answer]) => answer === null)),
    },
    {
      reason: "a reply ends behind the first tag that closes something, and nowhere else",
      covers: ({ words }) =>
        said(words).some(
          (text) =>
            /<\/(think|answer)>./s.test(text.trim()) || /^(?!.*<think>).*<\/think>/s.test(text),
        ),
    },
    {
      reason: "a control token ends a reply",
      covers: ({ words }) => said(words).some((text) => text.includes("<|")),
    },
    {
      reason: "a reply that never closes its answer is cut differently",
      covers: ({ words }) =>
        said(words).some((text) => text.includes("<answer>") !== text.includes("</answer>")),
    },
  ],
};

function said({ thoughts, answers, forced }: Words): string[] {
  return [...thoughts, ...answers, ...forced];
}

function otherSettings(random: Rng): Input["settings"] {
  return {
    simulations: random.int(1, 12),
    exploration: random.pick([0, 0.5, 1.4, 2, 5]),
    maxDepth: random.int(1, 10),
    rolloutSteps: random.int(1, 5),
    rollouts: random.int(1, 3),
    children: random.int(1, 4),
  };
}

function wordsOf(random: Rng, isOdd: boolean): Words {
  const most = random.pick([3, 30, 900]);
  const thoughts = Array.from({ length: random.int(2, 40) }, (_, i) => {
    const text = `<think> Look ${i} ${place(random, most)}. </think>`;
    if (!isOdd || random.chance(0.7)) return text;
    return random.pick(["", "<think> </think>", `Look ${i} (3, 3).`, disturbed(text, random)]);
  });
  const answer = () => random.pick(["left", "right", "A. left", "2", "The left one."]);
  const reply = () => `<answer> ${answer()} </answer>`;
  const odd = (text: string) => (isOdd && random.chance(0.2) ? disturbed(text, random) : text);
  const some = (length: number) => Array.from({ length }, () => odd(reply()));
  return { thoughts, answers: some(3), share: random.int(0, 60), forced: some(4) };
}

interface Theirs {
  readonly thought_text: string;
  readonly value: number;
  readonly visit_count: number;
  readonly is_terminal: boolean;
  readonly rollouts: readonly {
    readonly reward: number;
    readonly final_answer: string;
    readonly ephemeral_texts: readonly string[];
  }[];
  readonly children: readonly Theirs[];
}

function rowsOfTheirs(node: Theirs, depth: number): Row[] {
  const ends = node.rollouts.map(
    ({ reward, final_answer, ephemeral_texts }): [number, string | null] => {
      const last = ephemeral_texts.at(-1) ?? "";
      const isAnswer = node.is_terminal || last.includes("<answer>");
      return [reward, isAnswer ? final_answer : null];
    },
  );
  const text = depth === 0 ? "" : node.thought_text;
  const row: Row = [depth, text, node.visit_count, rounded(node.value), sorted(ends)];
  return [row, ...node.children.flatMap((child) => rowsOfTheirs(child, depth + 1))];
}

function rowsOfOurs(node: NodeLine, depth: number): Row[] {
  const text = node.step === null ? "" : (node.step.answer ?? node.step.text);
  const ends = node.rollouts.map(({ reward, answer }): [number, string | null] => [reward, answer]);
  const row: Row = [depth, text, node.visits, rounded(node.value), sorted(ends)];
  return [row, ...node.children.flatMap((child) => rowsOfOurs(child, depth + 1))];
}

/** Rollouts of one child run side by side here. */
function sorted(ends: [number, string | null][]): [number, string | null][] {
  return ends.toSorted((a, b) => a[0] - b[0] || (String(a[1]) < String(b[1]) ? -1 : 1));
}

const rounded = (value: number) => Math.round(value * 1e9) / 1e9;
