/** `vigorl study`: a human study of a model's points: `export` writes what people see, `score` counts their ratings. */
import { Command } from "commander";
import { VigorlError } from "../core/errors.ts";
import { programName } from "../core/paths.ts";
import { judgeOf } from "./behaviours.ts";
import {
  oneOf,
  textOf,
  wholeNumber,
  type Context,
  type Options,
  type Result,
  type Verb,
} from "./frame.ts";

export function studyVerb(): Verb {
  return {
    command: new Command("study")
      .description("have people rate where a model points: items out, ratings in")
      .argument(
        "<action>",
        "export: sentences of traces, with pictures, for people; score: their ratings",
      )
      .argument(
        "<what...>",
        "export: runs, or groups as runs/demo:sft; score: ratings, .jsonl or .csv",
      )
      .option(
        "--out <folder>",
        "export: where items go; the key is written beside it",
        "studies/points",
      )
      .option("--sentences <number>", "export: how many sentences", "80")
      .option("--per-question <number>", "export: at most so many of one question", "1")
      .option(
        "--conditions <names>",
        "export: marked, or marked,masked: places hidden, too",
        "marked,masked",
      )
      .option("--traces <which>", "export: all, or right: those with a right answer alone", "all")
      .option("--pictures <which>", "export: original, or seen: as the model saw them", "original")
      .option(
        "--circle <px>",
        "export: diameter of the circle, in pixels of the shown picture",
        "100",
      )
      .option("--side <px>", "export: longest side of a shown picture", "1280")
      .option(
        "--judge <engine>",
        "export: a model that leaves out what cannot be understood alone: its URL, or an engine's section",
      )
      .option("--concurrency <number>", "export: sentences before the judge at once", "8")
      .option("--key <file>", "score: the key that was written beside the items")
      .option(
        "--seed <number>",
        "export: of the choice and the order; score: of the bootstrap",
        "1",
      ),
    run: async (context, [action, what], options) =>
      oneOf("study: the action", action, ["export", "score"]) === "export"
        ? exportItems(namesOf(what), options, context)
        : score(namesOf(what), options),
  };
}

/** A list of arguments, as commander hands it over in the place of one. */
function namesOf(what: unknown): string[] {
  return Array.isArray(what) ? what.map(String) : [];
}

async function exportItems(
  runs: readonly string[],
  options: Options,
  context: Context,
): Promise<Result> {
  const { conditions } = await import("../eval/study/files.ts");
  const { traceChoices } = await import("../eval/behaviours/figures.ts");
  const names = String(options.conditions).split(",");
  const shown = names.map((name) => oneOf("--conditions", name.trim(), conditions));
  if (new Set(shown).size < shown.length)
    throw new VigorlError("usage", `--conditions names one twice: ${String(options.conditions)}`);
  const { exportStudy, droppedText } = await import("../study.ts");
  const { quiet, signal } = context;
  const made = await exportStudy({
    runs,
    out: String(options.out),
    sentences: wholeNumber("--sentences", options.sentences, 1),
    perQuestion: wholeNumber("--per-question", options.perQuestion, 1),
    conditions: shown,
    over: oneOf("--traces", options.traces, traceChoices),
    pictures: oneOf("--pictures", options.pictures, ["original", "seen"]),
    circlePx: wholeNumber("--circle", options.circle, 4, 10_000),
    sidePx: wholeNumber("--side", options.side, 16, 16_384),
    seed: wholeNumber("--seed", options.seed),
    judge: await judgeOf(textOf(options.judge)),
    concurrency: wholeNumber("--concurrency", options.concurrency, 1, 1024),
    quiet,
    signal,
  });
  const { items, sentences, traces, left, dropped, out, key } = made;
  const lines = [
    `${sentences} sentences of ${traces} traces, ${items} items; ${left} more could be taken`,
    `left out: ${droppedText(dropped)}`,
    `${out}  for people`,
    `${key}  for you alone`,
  ];
  return { json: { ...made }, text: lines.join("\n") };
}

async function score([ratings, ...more]: readonly string[], options: Options): Promise<Result> {
  const key = textOf(options.key);
  if (more.length > 0)
    throw new VigorlError("usage", "study score takes one file of ratings", {
      hint: "join the files of all persons, one line a rating",
    });
  if (key === undefined)
    throw new VigorlError("usage", "study score needs the key of its items", {
      hint: `${programName} study score ${ratings} --key studies/points.key.jsonl`,
    });
  const { scoreRatings } = await import("../study.ts");
  const { studyText } = await import("../eval/study/words.ts");
  const result = await scoreRatings(ratings, key, wholeNumber("--seed", options.seed));
  return {
    json: { ...result.score, page: result.page },
    text: `${studyText(result.score)}\n\n${result.page}`,
  };
}
