/** Say where one thing is as seen from another. */
import { relationBetween, relationQuestion } from "../language.ts";
import { nameOf, type SceneObject } from "../scene.ts";
import { relations, viewScale } from "../world.ts";
import type { NanoTask } from "./task.ts";

export const relation: NanoTask = {
  /** Null where no two things of the scene lie clearly to one side of each other. */
  ask(things) {
    for (const asked of things)
      for (const other of things) {
        const answer = asked === other ? null : relationBetween(scaled(other), scaled(asked));
        if (answer === null) continue;
        const question = relationQuestion(nameOf(asked), nameOf(other));
        return { question, kind: "choice", answer, choices: relations };
      }
    return null;
  },
};

function scaled(object: SceneObject): { x: number; y: number } {
  return { x: object.x / viewScale, y: object.y / viewScale };
}
