/** What `sft` and `rl` have in common on the terminal. */
import type { TaskSet } from "../recipe.ts";
import { formatDuration } from "../core/progress.ts";
import type { Trained } from "../stages/training.ts";
import type { Context } from "./frame.ts";

/** Says what the data left open and was found out. */
export function sayNotes(tasks: readonly TaskSet[], say: Context["say"]): void {
  for (const { note } of tasks) if (note !== undefined) say(note);
}

/** How training ended: steps, what was left out, the best validation, and the folder of its weights. */
export function trainedText({ steps, seconds, folder, isStoppedEarly, notes }: Trained): string[] {
  const { bestStep, bestAccuracy, tooLong = 0, brokenRecords = 0 } = notes;
  const left = [
    ...(tooLong === 0 ? [] : [`${tooLong} examples too long and left out`]),
    ...(brokenRecords === 0 ? [] : [`${brokenRecords} records that could not be asked`]),
  ];
  return [
    `${steps} steps, ${formatDuration(seconds)}${isStoppedEarly ? "; stopped early, since validation got no better" : ""}`,
    ...left,
    ...(bestStep === undefined
      ? []
      : [`best on held-out questions: step ${bestStep}, ${(100 * bestAccuracy).toFixed(1)} %`]),
    folder,
  ];
}
