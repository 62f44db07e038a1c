/**
 * Go from sign to sign, each of which shows the shape of the next thing, to the digit at the end: each
 * look decides the next one.
 */
import { stream } from "../../core/random.ts";
import { chaseQuestion, noneAnswer } from "../language.ts";
import type { Mark } from "../inks.ts";
import {
  nameOf,
  sampleCount,
  sampleOwnKinds,
  sampleScene,
  type Scene,
  type SceneObject,
} from "../scene.ts";
import { shapeNames, type Split } from "../world.ts";
import type { NanoTask } from "./task.ts";

export const chase: NanoTask = {
  scene: (split, seed, index) => trailScene(split, seed, index, "digit"),
  ask: (things) => askTrail(things),
};

/** Signs on the way, from the first thing to the last. */
const minHops = 1;
const maxHops = 3;

/**
 * A scene in which one way of signs leads from the first object on to a digit, or to a shape that is not
 * there. What stands off the way carries a digit or a sign, too, and nothing leads back onto it.
 */
export function trailScene(
  split: Split,
  seed: number,
  index: number,
  end: "digit" | "nowhere",
): Scene {
  const rng = stream(seed, "nano-trail", end, split, index);
  const kinds = sampleOwnKinds(rng, sampleCount(rng));
  const hops = rng.int(minHops, Math.min(maxHops, kinds.length - 1));
  const elsewhere = shapeNames.filter((shape) => kinds.every((kind) => kind.shape !== shape));
  const marks = kinds.map((_, i): Mark => {
    if (i < hops) return kinds[i + 1].shape;
    if (i === hops) return end === "digit" ? rng.int(0, 9) : rng.pick(elsewhere);
    return rng.chance(0.5) ? rng.int(0, 9) : rng.pick(elsewhere);
  });
  return sampleScene(rng, split, kinds, marks);
}

/** The question about the longest way of signs, and where it ends: a digit, or nothing. */
export function askTrail(things: readonly SceneObject[]) {
  const ways = things.map((thing) => trail(things, thing));
  const [start] = ways.toSorted((a, b) => b.length - a.length);
  const { mark } = start[start.length - 1].plate;
  return {
    question: chaseQuestion(nameOf(start[0])),
    kind: "text" as const,
    answer: typeof mark === "number" ? String(mark) : noneAnswer,
  };
}

/** The things that the signs lead through from one on, itself included. */
export function trail(things: readonly SceneObject[], from: SceneObject): SceneObject[] {
  const way = [from];
  for (;;) {
    const { mark } = way[way.length - 1].plate;
    const next = things.find(({ shape }) => shape === mark);
    if (next === undefined || way.includes(next)) return way;
    way.push(next);
  }
}
