/**
 * `vigorl ask`: a question about a picture, or many in one start. The steps are shown as they come; a copy
 * of the picture is written with the places that the model named and what its tools looked at. An answer
 * that is not of the form that the model was asked for ends with exit code 3.
 */
import { Command } from "commander";
import { basename } from "node:path";
import type { OpenModel, Picture } from "../ask.ts";
import { VigorlError } from "../core/errors.ts";
import { programName } from "../core/paths.ts";
import { writeFileAtomic } from "../core/files.ts";
import { jsonLine, plainText } from "../core/plain-text.ts";
import { guessKind } from "../task/guess-kind.ts";
import { kindNames, type KindName } from "../task/kinds.ts";
import { answerJson, type Answer } from "../task/question.ts";
import { manyQuestions, readInput, readInputText, type ListedQuestion } from "./ask-input.ts";
import {
  oneOf,
  textOf,
  wholeNumber,
  type Context,
  type Result,
  type Verb,
  spokenSections,
} from "./frame.ts";

/** No answer, or one of another form than the model was asked for. */
const NO_ANSWER = 3;

export function askVerb(): Verb {
  return {
    command: new Command("ask")
      .description("ask a question about an image; writes an annotated copy")
      .argument("[image]", "JPEG, PNG, WebP, …; - reads it from standard input")
      .argument("[question]", "- reads it from standard input")
      .option(
        "--questions <file>",
        'ask many: a question a line, or JSON lines {"image", "question", "kind"}; - reads standard input',
      )
      .option("--example", "draw a picture of the nano world, and ask about it")
      .option(
        "--model <folder>",
        "model or run folder; default the recipe's engine, or models/nano",
      )
      .option("--url <url>", "ask the server there; needs --engine.folder=…")
      .option("--kind <kind>", `${kindNames.join(", ")}; default guessed from the question`)
      .option("--recipe <file>", "take tools, prompts and image size from this recipe")
      .option("--out <file>", "the annotated picture; default <image>-looked.png in this folder")
      .option("--seed <number>", "seed of the sample", "1"),
    keys: [...spokenSections.filter((key) => key !== "data"), "eval"],
    run: async (context, [image, question], options) => {
      const seed = wholeNumber("--seed", options.seed);
      const kind =
        options.kind === undefined ? undefined : oneOf("--kind", options.kind, kindNames);
      const asked = await askedFor(image, question, { ...options, seed });
      const { openModel } = await import("../ask.ts");
      const model = await openModel({
        model: textOf(options.model),
        url: textOf(options.url),
        recipe: textOf(options.recipe),
        overrides: context.overrides,
        signal: context.signal,
      });
      model.notes.forEach(context.say);
      try {
        const how = { seed, kind };
        return "file" in asked
          ? await askMany(context, model, manyQuestions(asked.file, asked.picture), how)
          : await askOne(context, model, asked, { ...how, out: textOf(options.out) });
      } finally {
        await model.close();
      }
    },
  };
}

interface How {
  readonly seed: number;
  readonly kind: KindName | undefined;
}

interface One {
  readonly picture: Picture;
  /** What files are called after. */
  readonly name: string;
  readonly question: string;
  /** A picture that was drawn here, and its truth. */
  readonly example?: { readonly file: string; readonly truth: string };
}

type Asked = One | { readonly file: string; readonly picture: string | undefined };

/** What the arguments ask for, with everything read that can be read before a model is opened. */
async function askedFor(
  image: string | undefined,
  question: string | undefined,
  options: { readonly questions?: unknown; readonly example?: unknown; readonly seed: number },
): Promise<Asked> {
  const file = textOf(options.questions as string | undefined);
  if (options.example === true) {
    if (image !== undefined || file !== undefined)
      throw new VigorlError("usage", "ask: --example brings its own picture and question");
    return exampleOf(options.seed);
  }
  if (file !== undefined) {
    if (question !== undefined)
      throw new VigorlError("usage", "ask: give a question or --questions, not both");
    if (file === "-" && image === "-")
      throw new VigorlError("usage", "ask: picture and questions cannot both be standard input");
    return { file, picture: image };
  }
  if (image === undefined || question === undefined)
    throw new VigorlError("usage", "ask: give a picture and a question", {
      hint: `for example: ${programName} ask picture.png "Which digit is on the red star?", or ${programName} ask --example`,
    });
  if (image === "-" && question === "-")
    throw new VigorlError("usage", "ask: picture and question cannot both be standard input");
  const text = question === "-" ? (await readInputText()).trim() : question;
  if (text.trim() === "") throw new VigorlError("usage", "ask: the question is empty");
  const { decodeImage } = await import("../image/decode.ts");
  const source = image === "-" ? await readInput("the picture") : image;
  const name = image === "-" ? "picture" : image;
  await decodeImage(source, { name });
  return { picture: source, name, question: text };
}

/** Draws a held-out scene of the nano world into this folder. */
async function exampleOf(seed: number): Promise<One> {
  const { nanoRecords } = await import("../nano/tasks.ts");
  const { loadImages } = await import("../task/record.ts");
  const { shownTruth } = await import("../task/kinds.ts");
  const { encodePng } = await import("../image/decode.ts");
  const [record] = nanoRecords({ task: "search", split: "heldout", count: 1, seed });
  const [picture] = await loadImages(record);
  const file = "example.png";
  await writeFileAtomic(file, await encodePng(picture));
  const truth = shownTruth(record).text;
  return { picture, name: file, question: record.question, example: { file, truth } };
}

async function askOne(
  { quiet, signal, say }: Context,
  model: OpenModel,
  { picture, name, question, example }: One,
  { seed, kind, out: named }: How & { readonly out: string | undefined },
): Promise<Result> {
  if (example !== undefined) say(`${example.file}: ${question} (it is ${example.truth})`);
  const onText = quiet ? undefined : turnWriter();
  const reply = await model
    .ask(picture, question, { seed, kind, signal, onText })
    .finally(() => quiet || process.stderr.write("\n"));
  warn(reply, "");
  const out = named ?? `${basename(name).replace(/\.\w+$/, "")}-looked.png`;
  await writeFileAtomic(out, await reply.drawn());
  const guess = `asked for a ${reply.kind}, as the question reads; --kind says otherwise`;
  return {
    json: {
      ...answerJson(reply),
      question,
      ...(example === undefined ? {} : { image: example.file, truth: example.truth }),
      picture: out,
      model: model.label,
    },
    text: [
      reply.answer ?? `no answer (${reply.stopReason})`,
      "",
      ...(kind === undefined ? [guess] : []),
      out,
    ].join("\n"),
    code: reply.wellFormed ? 0 : NO_ANSWER,
  };
}

/** Questions in their order, some at once; one line each as soon as it and those before it are answered. */
async function askMany(
  { json, signal }: Context,
  model: OpenModel,
  questions: AsyncIterable<ListedQuestion>,
  { seed, kind }: How,
): Promise<Result> {
  const waiting: Promise<{ readonly asked: ListedQuestion; readonly reply: Answer }>[] = [];
  const counts = { questions: 0, answered: 0, malformed: 0 };
  let numAsked = 0;
  const tell = async () => {
    const next = waiting.shift();
    if (next === undefined) return;
    const { asked, reply } = await next;
    const { place, id, question } = asked;
    counts.questions++;
    if (reply.answer !== null) counts.answered++;
    if (!reply.wellFormed) counts.malformed++;
    warn(reply, `${place}: `);
    const about = { id: id ?? null, place, question, model: model.label };
    const line = json
      ? jsonLine({ ...answerJson(reply), ...about })
      : plainText(`${reply.answer ?? `no answer (${reply.stopReason})`}`).replaceAll("\n", " ");
    process.stdout.write(`${line}\n`);
  };
  for await (const asked of questions) {
    const ask = async () => {
      const reply = await model.ask(asked.picture, asked.question, {
        seed,
        signal,
        kind: asked.kind ?? kind ?? guessKind(asked.question),
      });
      return { asked, reply };
    };
    const one = ask();
    // Its failure is told in its turn.
    one.catch(() => undefined);
    waiting.push(one);
    numAsked++;
    if (waiting.length >= AT_ONCE) await tell();
  }
  while (waiting.length > 0) await tell();
  if (numAsked === 0) throw new VigorlError("input", "ask: there is no question in the list");
  return {
    json: { ...counts, model: model.label },
    text: `${counts.answered} of ${counts.questions} questions answered${counts.malformed > 0 ? `, ${counts.malformed} not in the form asked for` : ""}`,
    code: counts.malformed > 0 ? NO_ANSWER : 0,
  };
}

const AT_ONCE = 32;

/** Doubts go to people whatever else is quiet: an answer that nobody should trust looks like any other. */
function warn({ warnings }: Answer, place: string): void {
  for (const warning of warnings)
    process.stderr.write(`${plainText(`warning: ${place}${warning}`)}\n`);
}

/** Writes turns for people as they come, each under its number. */
function turnWriter(): (text: string, turn: number) => void {
  let shown = 0;
  return (text, turn) => {
    if (turn > shown) process.stderr.write(`${shown > 0 ? "\n" : ""}${String(turn).padStart(2)}  `);
    shown = turn;
    process.stderr.write(plainText(text).replaceAll("\n", "\n    "));
  };
}
