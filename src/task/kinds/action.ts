/** One action in a web browser: right when verb, target and typed text all agree. */
import { z } from "zod";
import type { Kind } from "./kind.ts";
import { webActionJudge } from "./published-judges.ts";
import { normalise, readings } from "./readings.ts";
import { emptyProblem } from "./text.ts";

export const action: Kind<string> = {
  truth: z.string(),
  wants: "a text",
  problem: (truth) =>
    emptyProblem(truth) ??
    (firstAction(truth) === null
      ? {
          message: `"${truth}" is no action; write click [id], type [id] [text], scroll [direction], go_back or stop [answer]`,
        }
      : null),
  isRight: (answer, truth) => actionMatch(answer, truth).same,
  isRightRepo: (answer, truth) => webActionJudge(truth, answer),
  words: {
    role: "You operate a web browser. You get an objective, the actions so far, and a screenshot in which every element you can act on has a numbered box.",
    rule: "The answer is one action: click [id], type [id] [text] (Enter is pressed after it), scroll [down], scroll [up], go_back, or stop [answer] when the objective is reached.",
    example: "click [12]",
  },
  show: (truth) => ({ text: truth }),
};

/** One of the five browser actions, its arguments as written. */
export interface BrowserAction {
  readonly verb: "click" | "type" | "scroll" | "go_back" | "stop";
  /** The element's id, the direction, or the final answer. */
  readonly target: string;
  /** What is typed. */
  readonly text: string;
}

/** Parses `click [12]`, `type [12] [text]`, `scroll [down]`, `go_back`, `stop [answer]`. */
export function parseAction(text: string): BrowserAction | null {
  const written = text.trim();
  if (written === "go_back") return { verb: "go_back", target: "", text: "" };
  const plain = /^(click|scroll)\s*\[([^[\]]*)\]$|^(stop)\s*\[(.*)\]$/s.exec(written);
  if (plain !== null) {
    const verb = plain[3] === "stop" ? "stop" : plain[1] === "click" ? "click" : "scroll";
    return { verb, target: plain[2] ?? plain[4], text: "" };
  }
  const typed = /^type\s*\[([^[\]]*)\]\s*\[(.*?)\](?:\s*\[[01]\])?$/s.exec(written);
  return typed === null ? null : { verb: "type", target: typed[1], text: typed[2] };
}

/** Compares two actions: whether the verb agrees, and whether all does. */
export function actionMatch(answer: string, truth: string): { verb: boolean; same: boolean } {
  const said = firstAction(answer);
  const right = firstAction(truth);
  if (said === null || right === null || said.verb !== right.verb)
    return { verb: false, same: false };
  const same =
    normalise(said.target) === normalise(right.target) &&
    normalise(said.text) === normalise(right.text);
  return { verb: true, same };
}

function firstAction(text: string): BrowserAction | null {
  for (const reading of [text, ...readings(text)]) {
    const parsed = parseAction(reading);
    if (parsed !== null) return parsed;
  }
  return null;
}
