import { expect, test } from "vitest";
import { stream } from "../core/random.ts";
import { parseTurn } from "../text/grammar.ts";
import { scanPoints } from "../text/points.ts";
import { relationBetween } from "./language.ts";
import { makeChat, type ChatKind } from "./chats.ts";
import type { Scenery } from "./chats.ts";
import { sightAt } from "./sights.ts";
import { tourKinds } from "./tours.ts";

const weights = { chance: 1, form: 1 };

/** A scene of five things; the crop shows a random one. */
function scenery(i: number): Scenery {
  const names = ["red star", "blue heart", "pink moon", "white flag", "green bell"];
  const things = names.map((name, k) => ({
    name,
    x: 12 + 17 * k,
    y: 90 - ((32 * k) % 75),
    mark: k,
  }));
  const looks = stream(i, "looks").shuffle([0, 1, 2, 3, 4]).slice(0, 4);
  return { things, looks, isTrail: false };
}

function turns(kind: ChatKind, i: number): { question: string; replies: string[] } {
  const parts = makeChat(kind, scenery(i), stream(i, kind), weights);
  const text = parts.map((part) => (part.type === "text" ? part.text : "")).join("");
  const [user, ...replies] = text.split("<|im_start|>assistant\n");
  return { question: user, replies: replies.map((reply) => reply.split("<|im_end|>")[0]) };
}

test("every turn in the full form is well formed", () => {
  for (const kind of [
    "search",
    "searchUnaided",
    "relation",
    "click",
    "sides",
    ...tourKinds,
  ] as const)
    for (let i = 0; i < 20; i++)
      for (const reply of turns(kind, i).replies) expect(parseTurn(reply).wellFormed).toBe(true);
});

test("a search says where the thing is that it names, zooms there and answers its digit", () => {
  for (let i = 0; i < 20; i++) {
    const { things, looks } = scenery(i);
    const [first, second] = turns("search", i).replies.map((reply) => parseTurn(reply));
    const { name, x, y, mark } = things[looks[0]];
    expect(first.thinks).toEqual([`${name} (${x}, ${y})`]);
    expect(first.toolCall).toMatchObject({ ok: true, call: { args: { coordinate: [x, y] } } });
    expect(second.answer?.text).toBe(String(mark));
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
  for (const kind of ["relation", "sides"] as const)
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

/** What a conversation of several looks did: the things it zoomed to, what it read, how it ended. */
function tour(kind: ChatKind, sight: Scenery, i: number, tours: number) {
  const parts = makeChat(kind, sight, stream(i, kind), { ...weights, toursConditioned: tours });
  const text = parts.map((part) => (part.type === "text" ? part.text : "")).join("");
  const [question, ...replies] = text.split("<|im_start|>assistant\n");
  const turns = replies.map((reply) => parseTurn(reply.split("<|im_end|>")[0]));
  const looked = turns.flatMap(({ toolCall }) => {
    if (toolCall?.ok !== true) return [];
    const [x, y] = toolCall.call.args.coordinate as [number, number];
    return sight.things.filter((thing) => thing.x === x && thing.y === y);
  });
  const read = turns.slice(1).map(({ thinks }) => /^it (?:is|says) (\w+)/.exec(thinks[0])?.[1]);
  return { question, looked, read, answer: turns.at(-1)?.answer?.text };
}

test("what several looks have seen is told truly, and the answer follows from it", () => {
  for (const kind of tourKinds)
    for (let i = 0; i < 60; i++) {
      const sight = sightAt("train", 3, i, { looks: 4 });
      const { question, looked, read, answer } = tour(kind, sight, i, 0);
      expect(looked.length).toBeGreaterThan(0);
      expect(read).toEqual(looked.map(({ mark }) => String(mark)));
      if (kind !== "find") continue;
      const digit = Number(/carries a (\d)/.exec(question)?.[1]);
      const found = looked.find(({ mark }) => mark === digit);
      expect(answer).toBe(found?.name ?? "none");
    }
});

test("one that attends looks where its question needs it, and no further", () => {
  let none = 0;
  for (let i = 0; i < 80; i++) {
    const sight = sightAt("train", 4, i, { looks: 4 });
    const found = tour("find", sight, i, 1);
    const digit = Number(/carries a (\d)/.exec(found.question)?.[1]);
    const hits = found.looked.map(({ mark }) => mark === digit);
    if (found.answer === "none") {
      none++;
      expect(sight.things.every(({ mark }) => mark !== digit)).toBe(true);
      expect(found.looked).toHaveLength(sight.things.length);
    } else expect(hits).toEqual([...hits.slice(1).map(() => false), true]);
    if (!sight.isTrail) continue;
    const { looked, answer } = tour("chase", sight, i, 1);
    looked.slice(1).forEach(({ name }, k) => expect(name.endsWith(`${looked[k].mark}`)).toBe(true));
    expect(answer).toBe(String(looked.at(-1)?.mark));
  }
  expect(none).toBeGreaterThan(5);
});

test("a verdict says of each digit that is not the one that is sought that it is not", () => {
  for (let i = 0; i < 20; i++) {
    const { question, replies } = turns("verdicts", i);
    const [, wanted] = /carries a (\d)/.exec(question) ?? [];
    const verdicts = [...replies[0].matchAll(/it is (\d)( not (\d))?/g)];
    expect(verdicts).toHaveLength(8);
    for (const [, digit, denial, named] of verdicts) {
      expect(denial === undefined).toBe(digit === wanted);
      if (denial !== undefined) expect(named).toBe(wanted);
    }
  }
});
