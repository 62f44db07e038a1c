/**
 * `vigorl ask`: one image, one question. The steps are shown as they come; a copy of the picture is
 * written with the places that the model named and what its tools looked at.
 */
import { Command } from "commander";
import { basename } from "node:path";
import { VigorlError } from "../core/errors.ts";
import { writeFileAtomic } from "../core/files.ts";
import { plainText } from "../core/plain-text.ts";
import type { Sampler } from "../engine/types.ts";
import type { ChatFormat } from "../text/chat.ts";
import { StreamDecoder } from "../text/tokenizer.ts";
import { guessKind } from "../task/guess-kind.ts";
import { kindNames } from "../task/kinds.ts";
import { oneOf, textOf, wholeNumber, type Context, type Verb } from "./frame.ts";

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
    run: async (context, [imagePath = "", question = ""], options) => {
      const { decodeImage, encodePng } = await import("../image/decode.ts");
      const image = await decodeImage(imagePath);
      if (question.trim() === "") throw new VigorlError("usage", "ask: the question is empty");
      const seed = wholeNumber("--seed", options.seed);
      const guessed = options.kind === undefined;
      const kind = guessed ? guessKind(question) : oneOf("--kind", options.kind, kindNames);
      const { recipeFor } = await import("../recipe-of-model.ts");
      const recipe = await recipeFor({
        model: textOf(options.model),
        url: textOf(options.url),
        recipe: textOf(options.recipe),
        overrides: context.overrides,
      });
      const { needsOf, openPlanned, planEngine } = await import("../engine-plan.ts");
      const { engineLabel } = await import("../engine/open.ts");
      const needs = { ...needsOf("sample", recipe), purpose: "ask" };
      const plan = await planEngine(recipe, recipe.engine, needs, { signal: context.signal });
      const config = plan.episode;
      const engine = await openPlanned(plan);
      try {
        const { runEpisode } = await import("../task/episode.ts");
        const record = {
          id: basename(imagePath),
          images: [{ kind: "render" as const, name: imagePath, render: () => image }],
          question,
          kind,
          answer: "",
        };
        const sampler = streaming(engine, config.chat, context);
        const episode = await runEpisode(sampler, record, config, seed, { signal: context.signal });
        if (episode.error !== null) throw new VigorlError("input", `ask: ${episode.error}`);
        const out = String(
          options.out ?? `${basename(imagePath).replace(/\.\w+$/, "")}-looked.png`,
        );
        const { drawEpisode } = await import("../task/draw-episode.ts");
        await writeFileAtomic(out, await encodePng(drawEpisode(image, episode)));
        const { answer, stopReason, points, toolUses, pictures, turns, numTokens, seconds } =
          episode;
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
            model: engineLabel(plan.engine),
          },
          text: [
            answer ?? `no answer (${stopReason})`,
            "",
            ...(guessed
              ? [`asked for a ${kind}, as the question reads; --kind says otherwise`]
              : []),
            out,
          ].join("\n"),
        };
      } finally {
        await engine.close();
      }
    },
  };
}

/** Shows what the model writes while it writes it; episodes themselves stay as they are. */
function streaming(sampler: Sampler, chat: ChatFormat, { quiet }: Context): Sampler {
  let turn = 0;
  return {
    capabilities: sampler.capabilities,
    close: () => sampler.close(),
    sample: async (prompt, params, options) => {
      if (quiet) return sampler.sample(prompt, params, options);
      const decoder = new StreamDecoder(chat.tokenizer, { skipSpecial: true });
      let numShown = 0;
      const show = (token: number) => {
        if (numShown++ === 0) process.stderr.write(`${String(++turn).padStart(2)}  `);
        // Rows that pad a vocabulary have no text; the episode ends there, and says so.
        const text = chat.tokenizer.hasId(token) ? decoder.push(token) : "";
        process.stderr.write(plainText(text).replaceAll("\n", "\n    "));
      };
      const onToken = (token: number) => show(token);
      const sample = await sampler.sample(prompt, params, { ...options, onToken });
      // A sampler need not tell single tokens; the rest is shown when it is there.
      for (const token of sample.tokens.slice(numShown)) show(token);
      process.stderr.write(`${plainText(decoder.flush())}\n`);
      return sample;
    },
  };
}
