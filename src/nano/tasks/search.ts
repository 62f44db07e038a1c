/** Find a detail that the view is too small for: the digit on a named thing. */
import { searchQuestion } from "../language.ts";
import { nameOf } from "../scene.ts";
import type { NanoTask } from "./task.ts";

export const search: NanoTask = {
  ask: ([asked]) => ({
    question: searchQuestion(nameOf(asked)),
    kind: "number",
    answer: String(asked.plate.mark),
  }),
};
