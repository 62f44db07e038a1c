import { expect, test } from "vitest";
import { stream } from "../core/random.ts";
import { vigorl } from "../text/dialects/vigorl.ts";
import { formatTurn } from "../text/grammar.ts";
import { linearizeConfig } from "./linearize-config.ts";
import { splice, type SpliceOptions } from "./splice.ts";

const options = (rules: object = {}, more: Partial<SpliceOptions> = {}): SpliceOptions => ({
  rules: linearizeConfig.parse({ splice: rules }).splice,
  toolName: "crop",
  dialect: vigorl,
  isInside: ({ x, y }) => x >= 0 && y >= 0 && x < 200 && y < 200,
  random: stream(1, "test"),
  ...more,
});
const chain = (think: string, answer = "red") => formatTurn({ think, answer }, "block");
const turn = (think: string, x: number, y: number) =>
  formatTurn({ think, toolCall: { name: "crop", args: { coordinate: [x, y] } } });

test("each sentence with a new place becomes a turn, the rest the last thought", () => {
  const text = "First. A cup (10, 20) stands here. Then a jug (30.9, 40). Again (10, 20). So red.";
  expect(splice(chain(text), options())).toEqual({
    ok: true,
    turns: [
      turn("First. A cup (10, 20) stands here.", 10, 20),
      turn("Then a jug (30.9, 40).", 30, 40),
      formatTurn({ think: "Again (10, 20). So red.", answer: "red" }),
    ],
  });
  const lost = splice(chain(text), options({ keepRest: false, lastThink: "Done." }));
  expect(lost.ok && lost.turns.at(-1)).toBe(formatTurn({ think: "Done.", answer: "red" }));
});

test("neither the answer's text nor its point gets into thoughts or calls", () => {
  const open = splice(chain("It is here (10, 20)", "(50, 60)"), options());
  expect(open).toEqual({
    ok: true,
    turns: [
      turn("It is here (10, 20)", 10, 20),
      formatTurn({ think: options().rules.lastThink, answer: "(50, 60)" }),
    ],
  });
});

test("at most so many calls; what is not a chain is refused with a reason", () => {
  const many = splice(chain("A (1, 1). B (2, 2). C (3, 3)."), options({ maxToolCalls: 2 }));
  expect(many.ok && many.turns).toHaveLength(3);
  expect(many.ok && many.turns[2]).toContain("C (3, 3).");
  expect(splice(chain("A (1, 1). B (900, 2)."), options())).toEqual({
    ok: false,
    fault: "outside",
  });
  expect(splice(chain("No place."), options())).toEqual({ ok: false, fault: "noPoint" });
  expect(splice(chain(""), options())).toEqual({ ok: false, fault: "emptyThought" });
  expect(splice(chain("<answer> (1, 2)"), options()).ok).toBe(false);
});

test("a further place of a sentence gets a call of its own", () => {
  const spliced = splice(chain("I see the cup (69, 2), it (8, 6). Red."), options());
  expect(spliced.ok && spliced.turns.slice(0, 2)).toEqual([
    turn("I see the cup (69, 2), it (8, 6).", 69, 2),
    turn("(8, 6).", 8, 6),
  ]);
  const again = splice(chain("A (1, 1) and (1, 1). B (2, 2)."), options());
  expect(again.ok && again.turns.slice(0, 2)).toEqual([
    turn("A (1, 1) and (1, 1).", 1, 1),
    turn("B (2, 2).", 2, 2),
  ]);
});

test("as published: its reading of places, and chains without one stay a single turn", () => {
  const published = options({}, { published: true });
  const single = splice(chain("Left of (-5, 3) is none."), published);
  expect(single.ok && single.turns).toEqual([
    formatTurn({ think: "Left of (-5, 3) is none.", answer: "red" }),
  ]);
  const dotted = splice(chain("A (1., 2)."), published);
  expect(dotted.ok && dotted.turns[0]).toBe(turn("A (1., 2).", 1, 2));
});

test("the first call moves to a place before the last, as often as asked", () => {
  const text = chain("A (1, 1). B (2, 2). C (3, 3).");
  const orders = Array.from({ length: 200 }, (_, i) => {
    const spliced = splice(text, options({ moveFirstCall: 0.2 }, { random: stream(i, "move") }));
    return spliced.ok ? spliced.turns.map((one) => one[8]).join("") : "";
  });
  const moved = orders.filter((order) => !order.startsWith("ABC"));
  expect(new Set(moved.map((order) => order.slice(0, 3)))).toEqual(new Set(["BAC"]));
  expect(moved.length).toBeGreaterThan(8);
  expect(moved.length).toBeLessThan(40);
  const pair = chain("A (1, 1). B (2, 2).");
  const kept = splice(pair, options({ moveFirstCall: 1 }, { random: stream(1, "move") }));
  expect(kept.ok && kept.turns.map((one) => one[8]).join("")).toMatch(/^AB/);
});
