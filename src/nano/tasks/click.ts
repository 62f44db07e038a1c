/** Point at a named thing. */
import { clickQuestion } from "../language.ts";
import { nameOf } from "../scene.ts";
import type { NanoTask } from "./task.ts";

/** Half the side of the box that a click has to hit, in canvas pixels: the middle of the icon. */
const clickReachPx = 16;

export const click: NanoTask = {
  ask([asked]) {
    const { x, y } = asked;
    const box = [x - clickReachPx, y - clickReachPx, x + clickReachPx, y + clickReachPx] as const;
    return { question: clickQuestion(nameOf(asked)), kind: "point", answer: { box } };
  },
};
