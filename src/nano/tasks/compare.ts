/** Name the one of two things with the greater digit: two looks, and then a decision. */
import { compareQuestion } from "../language.ts";
import { nameOf } from "../scene.ts";
import type { NanoTask } from "./task.ts";

export const compare: NanoTask = {
  ask([one, other]) {
    const difference = Number(one.plate.mark) - Number(other.plate.mark);
    if (difference === 0) return null;
    const question = compareQuestion(nameOf(one), nameOf(other));
    return { question, kind: "text", answer: nameOf(difference > 0 ? one : other) };
  },
};
