import { mkdtemp, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { expect, test } from "vitest";
import { thought, tree, node, rollout, answerStep } from "./fixtures/small-tree.ts";
import { repoChains } from "./linearize-repo.ts";
import { fromRepoRecord, readRepoTrees, repoRecordSchema } from "./repo-trees.ts";
import { attemptsOf } from "./attempts.ts";

const question = "<image>Where is the cup?";
const record = (rollouts: unknown[], children: unknown[] = []) =>
  repoRecordSchema.parse({
    id: 7,
    question,
    image: "/data/cup.png",
    true_answer: "left",
    tree: { thought_text: question, is_terminal: false, rollouts, children },
    system_prompt: "s",
    global_search_time: 12.5,
  });
const end = (reward: number | boolean, ...texts: string[]) => ({
  final_answer: texts
    .at(-1)
    ?.replaceAll(/<\/?answer>/g, "")
    .trim(),
  reward,
  ephemeral_texts: [question, ...texts],
  ephemeral_depth: texts.length,
});
const chainsFrom = (rollouts: unknown[], children: unknown[] = []) =>
  repoChains(fromRepoRecord(record(rollouts, children), { kind: "text" }), "Wait.");
const counts = (rollouts: unknown[]) => {
  const chains = chainsFrom(rollouts);
  return [
    chains.filter(({ kind }) => kind === "direct").length,
    chains.filter(({ kind }) => kind === "backtrack").length,
  ];
};

test("two rollouts of a node give 2, 1 + 1 or 0 chains", () => {
  const a = "<think> a (1, 2). </think>";
  const b = "<think> b (3, 4). </think>";
  expect(counts([end(1, a, "left"), end(1, b, "left")])).toEqual([2, 0]);
  expect(counts([end(1, a, "left"), end(0, b, "right")])).toEqual([1, 1]);
  expect(counts([end(0, a, "right"), end(0, b, "right")])).toEqual([0, 0]);
  expect(counts([end(true, a, "left"), end(false, b, "up")])).toEqual([1, 1]);
  expect(counts([end(0.5, a, "left")])).toEqual([0, 0]);
});

test("texts come out as published: wrong half, sentence, right half with the shared part again", () => {
  const shared = "<think> A table (5, 6). </think>";
  const chains = chainsFrom([
    end(0, shared, "<think> Right of it (9, 9). </think>", "<answer> right </answer>"),
    end(1, shared, "<think>Left of it (1, 1).</think>", "<answer> left </answer>"),
  ]);
  expect(chains).toEqual([
    {
      kind: "backtrack",
      text: "<think>\nA table (5, 6). Right of it (9, 9).\nWait.\nA table (5, 6). Left of it (1, 1).\n</think>\n<answer> left </answer>",
      answer: "left",
    },
    {
      kind: "direct",
      text: "<think>\nA table (5, 6). Left of it (1, 1).\n</think>\n<answer> left </answer>",
      answer: "left",
    },
  ]);
});

test("its faults come out too: empty thoughts, tags in answers, a question that is kept", () => {
  const [empty] = chainsFrom([end(1, "left")]);
  expect(empty.text).toBe("<think>\n\n</think>\n<answer> left </answer>");
  const [tagged] = chainsFrom([end(1, "<think>x</think> <answer>left</answer>")]);
  expect(tagged.answer).toBe("<think>x</think> left");
  const middle = { reward: 1, final_answer: "left", ephemeral_texts: ["Is <image> it?", "left"] };
  expect(chainsFrom([middle])[0].text).toBe("<think>\nIs  it?\n</think>\n<answer> left </answer>");
});

test("a thought that the search judged right is an answer to the published builder, not to ours", () => {
  const rollouts = [end(1, "<think>a (1, 2)</think>", "<think>it is left (3, 4)</think>")];
  const [chain] = chainsFrom(rollouts);
  expect(chain.text).toBe(
    "<think>\na (1, 2)\n</think>\n<answer> <think>it is left (3, 4)</think> </answer>",
  );
  const read = fromRepoRecord(record(rollouts), { kind: "text" });
  expect(attemptsOf(read)).toEqual([]);
  expect(read.numCorrect).toBe(0);
});

test("each node is looked at alone, terminals are not walked below, equal chains come once", () => {
  const child = {
    thought_text: "left",
    is_terminal: true,
    rollouts: [end(1, "left"), end(1, "left")],
    children: [{ thought_text: "x", is_terminal: false, rollouts: [end(1, "never", "left")] }],
  };
  const chains = chainsFrom([end(0, "<think>n</think>", "right")], [child]);
  expect(chains.map(({ kind, answer }) => ({ kind, answer }))).toEqual([
    { kind: "direct", answer: "left" },
  ]);
});

test("a file of the reference search becomes trees, one a line, errors counted", async () => {
  const folder = await mkdtemp(join(tmpdir(), "vigorl-repo-"));
  const file = join(folder, "rollouts_x_worker0_final.jsonl");
  const think = "<think> A cup (12, 30). </think>";
  const value = {
    ...record([], []),
    tree: {
      thought_text: question,
      is_terminal: false,
      value: 0.5,
      visit_count: 4,
      rollouts: [],
      used_coords: [],
      children: [
        {
          thought_text: think,
          is_terminal: false,
          value: 0.5,
          visit_count: 2,
          used_coords: ["(12, 30)"],
          rollouts: [
            end(1, think, "<think> It is left (2, 3). </think>", "<answer> left </answer>"),
            end(0, think, "<think> Never done (4, 4). </think>"),
          ],
          children: [],
        },
        {
          thought_text: "left",
          is_terminal: true,
          value: 1,
          visit_count: 2,
          rollouts: [end(1, "left")],
          children: [],
        },
      ],
    },
  };
  await writeFile(file, `${JSON.stringify(value)}\n\n{"id": 3, "error": "timeout"}\n`);
  const { records, numErrors } = await readRepoTrees(file);
  expect([records.length, numErrors]).toEqual([1, 1]);
  const one = fromRepoRecord(records[0], { kind: "text" });
  expect(one).toMatchObject({
    recordId: "7",
    question: "Where is the cup?",
    numCorrect: 2,
    numNodes: 3,
  });
  expect(
    attemptsOf(one).map(({ steps, answer, isCorrect }) => ({
      thinks: steps.map((step) => step.think),
      points: steps.flatMap((step) => step.points),
      answer,
      isCorrect,
    })),
  ).toEqual([
    {
      thinks: ["A cup (12, 30).", "It is left (2, 3).", ""],
      points: [
        { picture: 0, x: 12, y: 30 },
        { picture: 0, x: 2, y: 3 },
      ],
      answer: "left",
      isCorrect: true,
    },
    { thinks: [""], points: [], answer: "left", isCorrect: true },
  ]);
  await writeFile(file, '{"id": 1}\n');
  await expect(readRepoTrees(file)).rejects.toThrow(`${file}:1: question`);
});

test("our trees go through the published builder", () => {
  const root = node(null, {
    children: [
      node(thought("A star", 50, 50), {
        rollouts: [rollout(thought("A bell", 9, 9), answerStep("7")), rollout(answerStep("3"))],
        children: [node(answerStep("7"), {})],
      }),
    ],
  });
  const published = repoChains(tree(root, { steps: "packed" }), "Wait.");
  expect(published.map(({ kind }) => kind)).toEqual(["backtrack", "direct", "direct"]);
  expect(published[0].text).toBe(
    "<think>\nA star (50, 50).\nWait.\nA star (50, 50). A bell (9, 9).\n</think>\n<answer> 7 </answer>",
  );
});
