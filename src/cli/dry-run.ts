/** `--dry-run`: a recipe resolved, and what it comes to on this machine, in words. */
import { stringify } from "yaml";
import { formatDuration } from "../core/progress.ts";
import type { Forecast, QuestionCount } from "../forecast.ts";
import type { BaseRecipe } from "../nano/base-recipe.ts";
import type { DryVerb } from "../pieces.ts";
import type { Recipe } from "../recipe.ts";
import type { Timed } from "../trial.ts";
import type { Context, Result } from "./frame.ts";

/**
 * Code 2 where it does not fit into memory.
 * @param sections of the recipe that the verb reads; all by default
 * @throws VigorlError as the start of the run would
 */
export async function dryRun(
  recipe: Recipe,
  verb: DryVerb,
  { signal, say }: Pick<Context, "signal" | "say">,
  sections?: readonly string[],
): Promise<Result> {
  const { forecast } = await import("../forecast.ts");
  const { fits, memoryText, totalBytes } = await import("../engine-memory.ts");
  if (verb !== "serve") say("a little of each piece of work is done and timed; nothing is kept");
  const found = await forecast(recipe, verb, signal);
  const { engine, memory, questions, pieces, seconds } = found;
  const json = {
    recipe,
    engine,
    ...(memory === null ? {} : { ...memory, totalBytes: totalBytes(memory), fits: fits(memory) }),
    questions,
    pieces: pieces.map(({ piece, ...time }) => {
      const { recipe: _, ...what } = piece;
      return { ...what, ...time };
    }),
    seconds,
  };
  const text = [
    resolvedText(found, sections),
    ...(questions.length === 0 ? [] : [questionsText(questions), ""]),
    memory === null
      ? `engine of kind ${engine.kind}: its memory is not this machine's`
      : memoryText(memory),
    ...(pieces.length === 0 ? [] : ["", ...timeText(pieces, seconds)]),
  ].join("\n");
  return { json, text, code: memory === null || fits(memory) ? 0 : 2 };
}

/** The sections that are read, every default and `auto` filled in. */
function resolvedText({ recipe, engine }: Forecast, sections?: readonly string[]): string {
  const entries = Object.entries({ ...recipe, engine }).filter(
    ([key]) => sections === undefined || ["name", "seed", ...sections].includes(key),
  );
  return stringify(JSON.parse(JSON.stringify(Object.fromEntries(entries))));
}

function questionsText(questions: readonly QuestionCount[]): string {
  return questions
    .map(({ split, task, questions: count, measured, promptTokens, longestPrompt, maxTokens }) => {
      const whole = Math.round(promptTokens * count).toLocaleString("en-US");
      const how = measured < count ? `, measured on ${measured}` : "";
      return `${split} ${task}: ${count} questions, prompts of ${promptTokens.toFixed(0)} tokens (${longestPrompt} at most${how}), ${whole} in all; an episode adds ${maxTokens} at most`;
    })
    .join("\n");
}

function timeText(pieces: readonly Timed[], seconds: number | null): string[] {
  const lines = pieces.map(({ piece, seconds: own, from }) => {
    const { stage, kind, count, unit, isBound } = piece;
    const name = stage === kind ? stage : `${stage} (${kind})`;
    const what = `${name}: ${isBound ? "at most " : ""}${count} ${unit}`;
    return own === null
      ? `${what}, not timed: ${from}`
      : `${what}, about ${formatDuration(own)} (${from} timed)`;
  });
  const missing = pieces.some((one) => one.seconds === null) ? " of what was timed" : "";
  return seconds === null
    ? lines
    : [
        ...lines,
        `together about ${formatDuration(seconds)}${missing}; opening models, validation and checkpoints come on top`,
      ];
}

/** What training the nano base model comes to. */
export async function dryBase(recipe: BaseRecipe, { say, signal }: Context): Promise<Result> {
  const { timeBase } = await import("../nano/time-base.ts");
  say("two steps of each stage are done and timed; nothing is kept");
  const { stages, residentBytes } = await timeBase(recipe, signal);
  const seconds = stages.reduce((sum, stage) => sum + stage.seconds, 0);
  const lines = stages.map(
    ({ name, steps, samples, seconds: own }) =>
      `${name}: ${steps} steps of ${samples} pictures, about ${formatDuration(own)}`,
  );
  return {
    json: { recipe, stages, residentBytes, seconds },
    text: [
      stringify(recipe),
      ...lines,
      `together about ${formatDuration(seconds)}; evaluations and checkpoints come on top`,
      `this process held ${(residentBytes / 2 ** 30).toPrecision(3)} GiB`,
    ].join("\n"),
  };
}
