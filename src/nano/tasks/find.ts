/** Name the thing that carries a digit. Nobody can know where before looking: look, read, go on or stop. */
import { findQuestion } from "../language.ts";
import type { Mark } from "../inks.ts";
import { nameOf, type SceneObject } from "../scene.ts";
import type { NanoTask } from "./task.ts";

export const find: NanoTask = {
  ask(things) {
    if (things.length > mostToSearch) return null;
    const asked = things.find(({ plate }) => carriers(things, plate.mark).length === 1);
    if (asked === undefined || typeof asked.plate.mark !== "number") return null;
    return { question: findQuestion(asked.plate.mark), kind: "text", answer: nameOf(asked) };
  },
};

/** Things of a scene that has to be looked through. */
export const mostToSearch = 5;

function carriers(things: readonly SceneObject[], mark: Mark) {
  return things.filter(({ plate }) => plate.mark === mark);
}
