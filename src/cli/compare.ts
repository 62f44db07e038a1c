/** `vigorl compare`: two evaluated runs, paired question by question. */
import { Command } from "commander";
import { compareArms } from "./eval.ts";
import type { Verb } from "./frame.ts";

export function compareVerb(): Verb {
  return {
    command: new Command("compare")
      .description("compare two evaluated runs on the questions that both answered")
      .argument("<a>", "run folder of an evaluation, such as runs/eval-rl, or run:arm")
      .argument("<b>", "another, on the same questions"),
    run: (_, runs) => compareArms(runs),
  };
}
