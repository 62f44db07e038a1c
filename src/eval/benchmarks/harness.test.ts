/**
 * 500 generated replies through the published scorers themselves, where pip has installed them
 * (VIGORL_PYTHON; the script names the versions), and through ours: the same is read, but for what the
 * table of known differences says.
 */
import { spawnSync } from "node:child_process";
import { homedir } from "node:os";
import { join } from "node:path";
import { describe, expect, it } from "vitest";
import { stream } from "../../core/random.ts";
import { choiceRecord } from "./fixtures/vectors.ts";
import { mmeRealworld } from "./mme-realworld.ts";
import { indexedLetter, lmmsLetter } from "./rules/letters.ts";
import { lmmsBoxMiddle, lmmsPoint } from "./rules/points.ts";
import { canInfer, yesOrNo } from "./rules/vlmevalkit.ts";
import { vstar } from "./vstar.ts";

const choices = ["a red cup", "a blue jar", "a green bowl", "a black pan"];
const record = choiceRecord(choices, 0, { facts: { task: "t", subtask: "s", class: "c" } });

const letterOf = (benchmark: typeof vstar, protocol: string) => (reply: string) =>
  benchmark.protocols[protocol].judge(record, { text: reply, answer: reply, view: null }).read;

const rules: Readonly<Record<string, (reply: string) => unknown>> = {
  "lmms shared": (reply) => lmmsLetter(reply, 4),
  "lmms vstar": letterOf(vstar, "lmms-eval"),
  "lmms box": (reply) => Object.values(lmmsBoxMiddle(reply)),
  "lmms point": (reply) => {
    const at = lmmsPoint(reply);
    return at === null ? null : [at.x, at.y];
  },
  "lmms mme": letterOf(mmeRealworld, "official"),
  "lmms mmmu": (reply) => indexedLetter(reply, choices, "lmms-eval") ?? "chance",
  "vlmevalkit letter": (reply) => canInfer(reply, choices),
  "vlmevalkit yes or no": yesOrNo,
};

/** Why a rule of an installed version reads another thing, by a pattern of the replies. */
const known: readonly (readonly [rule: string, replies: RegExp, reason: string])[] = [
  [
    "vlmevalkit letter",
    /answer\s+is\s+\**[ABCD]/i,
    "ms-vlmeval 0.0.20 has not yet the phrase that commit e8e78f0 reads",
  ],
];

const parts = [
  "A", "B", "(C)", "D.", "b)", "**B**", "the answer is", "Answer:", "The correct answer is", "not", "or", "yes", "Yes,", "no", "No.",
  "a red cup", "blue jar", "It is a green bowl.", "I pick", "because", "Cannot determine the answer", ".", ",", "!", "\n", ":", " ",
  "[0.1, 0.2]", "(100, 200)", "(10, 20, 300, 400)", "[0.1,0.2,0.3,0.4]", "x=12, y=40", "50%, 25%", "<bbox>1 2 3 4</bbox>", "box", "7", "3.5", "point",
]; // prettier-ignore

function generated(count: number): string[] {
  return Array.from({ length: count }, (_, i) => {
    const random = stream(3, "harness", i);
    return Array.from({ length: random.int(1, 7) }, () => random.pick(parts)).join(
      random.pick([" ", " ", ""]),
    );
  });
}

const python = process.env.VIGORL_PYTHON ?? join(homedir(), ".cache/vigorl/peers/bin/python");
const replies = generated(500);
const asked = Object.fromEntries(Object.keys(rules).map((name) => [name, replies]));
const script = new URL("fixtures/harness-scores.py", import.meta.url).pathname;
const { status, stdout, stderr } = spawnSync(python, [script], {
  input: JSON.stringify(asked),
  encoding: "utf8",
  maxBuffer: 1 << 26,
});
const theirs = (status === 0 ? JSON.parse(stdout) : {}) as Record<string, unknown[]>;

describe("the published scorers themselves (VIGORL_PYTHON with lmms-eval, ms-vlmeval)", () => {
  it.skipIf(status === null)("the script runs", () => {
    expect(stderr).toBe("");
    expect(status).toBe(0);
  });

  for (const [name, ours] of Object.entries(rules))
    it.skipIf(theirs[name] === undefined)(`${name}: what is read of 500 replies`, () => {
      const differing = replies.flatMap((reply, i) => {
        const isKnown = known.some(([rule, pattern]) => rule === name && pattern.test(reply));
        const [a, b] = [ours(reply), theirs[name][i]].map((read) => JSON.stringify(read));
        return a === b || isKnown ? [] : [`${JSON.stringify(reply)}: ours ${a}, theirs ${b}`];
      });
      expect(differing).toEqual([]);
      expect(new Set(theirs[name].map((read) => JSON.stringify(read))).size).toBeGreaterThan(2);
    });
});
