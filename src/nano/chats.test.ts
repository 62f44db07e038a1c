import { expect, test } from "vitest";
import { stream } from "../core/random.ts";
import { parseTurn } from "../text/grammar.ts";
import { scanPoints } from "../text/points.ts";
import { relationBetween } from "./language.ts";
import { makeChat, type ChatKind } from "./chats.ts";
import type { Scenery } from "./chats.ts";

const weights = { chance: 1, form: 1 };

/** A scene of five things; the crop shows a random one. */
function scenery(i: number): Scenery {
  const names = ["red star", "blue heart", "pink moon", "white flag", "green bell"];
  const things = names.map((name, k) => ({
    name,
    x: 12 + 17 * k,
    y: 90 - ((32 * k) % 75),
    digit: k,
  }));
  return { things, looked: stream(i, "looked").int(0, 4) };
}

function turns(kind: ChatKind, i: number): { question: string; replies: string[] } {
  const parts = makeChat(kind, scenery(i), stream(i, kind), weights);
  const text = parts.map((part) => (part.type === "text" ? part.text : "")).join("");
  const [user, ...replies] = text.split("<|im_start|>assistant\n");
  return { question: user, replies: replies.map((reply) => reply.split("<|im_end|>")[0]) };
}

test("every turn in the full form is well formed", () => {
  for (const kind of ["search", "searchUnaided", "relation", "click", "compare"] as const)
    for (let i = 0; i < 20; i++)
      for (const reply of turns(kind, i).replies) expect(parseTurn(reply).wellFormed).toBe(true);
});

test("a search says where the thing is that it names, zooms there and answers its digit", () => {
  for (let i = 0; i < 20; i++) {
    const { things, looked } = scenery(i);
    const [first, second] = turns("search", i).replies.map((reply) => parseTurn(reply));
    const { name, x, y, digit } = things[looked];
    expect(first.thinks).toEqual([`${name} (${x}, ${y})`]);
    expect(first.toolCall).toMatchObject({ ok: true, call: { args: { coordinate: [x, y] } } });
    expect(second.answer?.text).toBe(String(digit));
  }
});

test("what is looked at does not follow the question", () => {
  for (const kind of ["search", "searchUnaided", "click", "relation"] as const) {
    let followed = 0;
    const count = 600;
    for (let i = 0; i < count; i++) {
      const { question, replies } = turns(kind, i);
      const [named] = /\w+ \w+/.exec(parseTurn(replies[0]).thinks[0]) ?? [""];
      if (question.indexOf(named) >= 0 && question.indexOf(named) < question.indexOf("from") + 200)
        followed += new RegExp(`the ${named}( seen|\\?|\\.)`).test(question) ? 1 : 0;
    }
    expect(followed / count).toBeGreaterThan(0.14);
    expect(followed / count).toBeLessThan(0.26);
  }
});

test("a relation is true of the two things that were looked at, in pictures and in words alone", () => {
  for (const kind of ["relation", "compare"] as const)
    for (let i = 0; i < 30; i++)
      for (const reply of turns(kind, i).replies.map((text) => parseTurn(text))) {
        const [first, second] = scanPoints(reply.thinks[0]);
        expect(reply.answer?.text).toBe(relationBetween(second, first));
      }
});

test("look-ups are answered as asked", () => {
  for (let i = 0; i < 10; i++) {
    const { things } = scenery(i);
    const place = turns("place", i);
    const asked = things.find(({ name }) => place.question.includes(`Where is the ${name}?`));
    expect(place.replies).toEqual([`(${asked?.x}, ${asked?.y})`]);
    const thing = turns("thing", i);
    const there = things.find(({ x, y }) => thing.question.includes(`(${x}, ${y})`));
    expect(thing.replies).toEqual([there?.name]);
  }
});
