import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { expect, test } from "vitest";
import { stream } from "../core/random.ts";
import { imageHash } from "../image/model-image.ts";
import { judge } from "../task/judge.ts";
import { loadImages } from "../task/record.ts";
import { nameOf, sceneAt, type SceneObject } from "./scene.ts";
import { nanoRecords, nanoTaskNames, nanoTasks } from "./tasks.ts";
import { trail } from "./tasks/chase.ts";
import type { NanoTask } from "./tasks/task.ts";
import { relations } from "./world.ts";

test.each(nanoTaskNames)("%s records are reproducible and extend each other", async (task) => {
  const options = { task, split: "heldout", seed: 5 } as const;
  const few = nanoRecords({ ...options, count: 3 });
  const more = nanoRecords({ ...options, count: 6 });
  const plain = (records: typeof few) => records.map(({ images: _, ...rest }) => rest);
  expect(plain(more.slice(0, 3))).toEqual(plain(few));
  const hash = async (record: (typeof few)[number]) => {
    const [image] = await loadImages(record);
    expect([image.widthPx, image.heightPx]).toEqual([448, 448]);
    return imageHash(image);
  };
  expect(await hash(more[1])).toBe(await hash(few[1]));
  expect(await hash(more[1])).not.toBe(await hash(more[2]));
  expect(plain(nanoRecords({ ...options, seed: 6, count: 3 }))).not.toEqual(plain(few));
});

test("answers are what the judge takes for right", () => {
  const records = nanoTaskNames.flatMap((task) =>
    nanoRecords({ task, split: "train", count: 5, seed: 1 }),
  );
  for (const record of records) {
    if (typeof record.answer === "string") {
      expect(judge(record, record.answer)).toBe(1);
    } else if ("box" in record.answer) {
      const [x0, y0, x1, y1] = record.answer.box;
      expect(judge(record, `(${(x0 + x1) / 2}, ${(y0 + y1) / 2})`)).toBe(1);
      expect(judge(record, `(${x1}, ${y1})`)).toBe(0);
    }
  }
});

test("each relation comes up", () => {
  const records = nanoRecords({ task: "relation", split: "train", count: 60, seed: 2 });
  for (const relation of relations)
    expect(records.filter(({ answer }) => answer === relation).length).toBeGreaterThan(4);
});

/** Scenes of a task as its records have them, and what is asked about each. */
function asked(task: NanoTask, count: number) {
  return Array.from({ length: count }, (_, index) => {
    const rng = stream(3, "asked", index);
    for (let attempt = 0; ; attempt++) {
      const { objects } = (task.scene ?? sceneAt)("heldout", 100 + attempt, index);
      const question = task.ask(rng.shuffle(objects), rng);
      if (question !== null) return { things: objects, ...question };
    }
  });
}

/** How a player finds an answer who sees names at once and marks by looking: the things looked at. */
const players: Readonly<
  Record<string, (things: readonly SceneObject[], question: string) => Play>
> = {
  find(things, question) {
    const digit = Number(/carries a (\d)/.exec(question)?.[1]);
    const at = things.findIndex(({ plate }) => plate.mark === digit);
    return { looks: at < 0 ? things.length : at + 1, answer: at < 0 ? "none" : nameOf(things[at]) };
  },
  compare(things, question) {
    const two = things.filter((thing) => question.includes(`the ${nameOf(thing)}`));
    const [best] = two.toSorted((a, b) => Number(b.plate.mark) - Number(a.plate.mark));
    return { looks: two.length, answer: nameOf(best) };
  },
  chase(things, question) {
    const start = things.find((thing) => question.includes(nameOf(thing)));
    if (start === undefined) throw new Error(`${question} names no thing`);
    const way = trail(things, start);
    const { mark } = way[way.length - 1].plate;
    return { looks: way.length, answer: typeof mark === "number" ? String(mark) : "none" };
  },
  absent: (things, question) =>
    players[question.startsWith("Start") ? "chase" : "find"](things, question),
};
interface Play {
  readonly looks: number;
  readonly answer: string;
}

test.each([
  ["find", 2.5],
  ["compare", 2],
  ["chase", 2.9],
  ["absent", 3.4],
] as const)("%s: who looks well is always right, after %f looks on average", (name, looks) => {
  const plays = asked(nanoTasks[name], 600).map(({ things, question, answer }) => {
    const play = players[name](things, question);
    expect(play.answer).toBe(answer);
    return play.looks;
  });
  expect(plays.reduce((sum, count) => sum + count, 0) / plays.length).toBeCloseTo(looks, 1);
});

test.each([
  ["find", 0.32],
  ["compare", 0.55],
  ["chase", 0.17],
] as const)("%s: whoever sees no marks is right by chance alone, at most %f", (name, chance) => {
  const questions = asked(nanoTasks[name], 600);
  const share = (guess: (of: (typeof questions)[number]) => string | undefined) =>
    questions.filter((of) => guess(of) === of.answer).length / questions.length;
  const named = (of: (typeof questions)[number]) =>
    of.things.map(nameOf).toSorted((a, b) => of.question.indexOf(a) - of.question.indexOf(b));
  const sorts: ((a: SceneObject, b: SceneObject) => number)[] = [
    (a, b) => a.x - b.x,
    (a, b) => a.y - b.y,
    (a, b) => a.sizePx - b.sizePx,
    (a, b) => (nameOf(a) < nameOf(b) ? -1 : 1),
  ];
  for (const sort of sorts)
    for (const at of [0, 1, -1])
      expect(share(({ things }) => nameOf(things.toSorted(sort).at(at)!))).toBeLessThan(chance);
  for (const at of [0, -1, -2]) expect(share((of) => named(of).at(at))).toBeLessThan(chance);
  for (let digit = 0; digit < 10; digit++) expect(share(() => String(digit))).toBeLessThan(chance);
});

test("tasks are listed in their table alone; chats of the base have kinds of their own", () => {
  const source = new URL("../", import.meta.url).pathname;
  const lists = readdirSync(source, { recursive: true, encoding: "utf8" }).filter((file) => {
    if (!file.endsWith(".ts") || file.endsWith(".test.ts") || file.startsWith("nano/"))
      return false;
    const text = readFileSync(join(source, file), "utf8");
    return nanoTaskNames.every((name) => new RegExp(`\\b${name}\\b`).test(text));
  });
  expect(lists).toEqual([]);
});
