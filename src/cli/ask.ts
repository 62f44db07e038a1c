/**
 * `vigorl ask`: one image, one question. The steps are shown as they come; a copy of the picture is
 * written with the places that the model named and what its tools looked at.
 */
import { Command } from "commander";
import { basename } from "node:path";
import { VigorlError } from "../core/errors.ts";
import { writeFileAtomic } from "../core/files.ts";
import { plainText } from "../core/plain-text.ts";
import { guessKind } from "../task/guess-kind.ts";
import { kindNames } from "../task/kinds.ts";
import { oneOf, textOf, wholeNumber, type Verb } from "./frame.ts";

export function askVerb(): Verb {
  return {
    command: new Command("ask")
      .description("ask a question about an image; writes an annotated copy")
      .argument("<image>", "JPEG, PNG, WebP, …")
      .argument("<question>")
      .option(
        "--model <folder>",
        "model or run folder; default the recipe's engine, or models/nano",
      )
      .option("--url <url>", "ask the server there; needs --engine.folder=…")
      .option("--kind <kind>", `${kindNames.join(", ")}; default guessed from the question`)
      .option("--recipe <file>", "take tools, prompts and image size from this recipe")
      .option("--out <file>", "the annotated picture; default <image>-looked.png in this folder")
      .option("--seed <number>", "seed of the sample", "1"),
    run: async ({ quiet, overrides, signal }, [imagePath = "", question = ""], options) => {
      const { decodeImage } = await import("../image/decode.ts");
      const image = await decodeImage(imagePath);
      if (question.trim() === "") throw new VigorlError("usage", "ask: the question is empty");
      const seed = wholeNumber("--seed", options.seed);
      const guessed = options.kind === undefined;
      const kind = guessed ? guessKind(question) : oneOf("--kind", options.kind, kindNames);
      const { openModel } = await import("../ask.ts");
      const model = await openModel({
        model: textOf(options.model),
        url: textOf(options.url),
        recipe: textOf(options.recipe),
        overrides,
        signal,
      });
      try {
        const onText = quiet ? undefined : turnWriter();
        const reply = await model
          .ask(image, question, { seed, kind, signal, onText })
          .finally(() => quiet || process.stderr.write("\n"));
        const { error, points, toolUses, pictures, turns, numTokens, seconds } = reply.trajectory;
        if (error !== null) throw new VigorlError("input", `ask: ${error}`);
        const plain = `${basename(imagePath).replace(/\.\w+$/, "")}-looked.png`;
        const out = textOf(options.out) ?? plain;
        await writeFileAtomic(out, await reply.drawn());
        const { answer, stopReason } = reply;
        const asked = `asked for a ${kind}, as the question reads; --kind says otherwise`;
        return {
          json: {
            answer,
            stopReason,
            points,
            toolUses,
            pictures,
            turns,
            numTokens,
            seconds,
            picture: out,
            kind,
            model: model.label,
          },
          text: [answer ?? `no answer (${stopReason})`, "", ...(guessed ? [asked] : []), out].join(
            "\n",
          ),
        };
      } finally {
        await model.close();
      }
    },
  };
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
