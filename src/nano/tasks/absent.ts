/**
 * Questions of find and chase about what is not there, by turns: the answer is "none", and only having
 * looked everywhere, or followed the signs to their end, earns it.
 */
import { findQuestion, noneAnswer } from "../language.ts";
import { sceneAt } from "../scene.ts";
import { askTrail, trailScene } from "./chase.ts";
import { mostToSearch } from "./find.ts";
import type { NanoTask } from "./task.ts";

export const absent: NanoTask = {
  scene: (split, seed, index) =>
    index % 2 === 0 ? sceneAt(split, seed, index) : trailScene(split, seed, index, "nowhere"),
  ask(things, rng) {
    if (things.some(({ plate }) => typeof plate.mark !== "number")) return askTrail(things);
    if (things.length > mostToSearch) return null;
    const missing = digits.filter((digit) => things.every(({ plate }) => plate.mark !== digit));
    return { question: findQuestion(rng.pick(missing)), kind: "text", answer: noneAnswer };
  },
};

const digits = Array.from({ length: 10 }, (_, digit) => digit);
