/** `vigorl serve`: a model behind an HTTP API and a page, until it is interrupted. */
import { Command } from "commander";
import { dryRun } from "./dry-run.ts";
import { once } from "node:events";
import { basename, resolve } from "node:path";
import { describeError, VigorlError } from "../core/errors.ts";
import { jsonLine } from "../core/plain-text.ts";
import { textOf, wholeNumber, type Verb, spokenSections } from "./frame.ts";

const keys = [...spokenSections.filter((key) => key !== "data"), "eval"];

export function serveVerb(): Verb {
  return {
    command: new Command("serve")
      .description("serve a model over an OpenAI-compatible API")
      .argument("[model]", "model or run folder; default the recipe's engine, or models/nano")
      .option("--dry-run", "say what it will hold in memory, and whether that fits; serve nothing")
      .option("--url <url>", "hand requests on to the server there; needs --engine.folder=…")
      .option("--recipe <file>", "take engine and image size from this recipe")
      .option("--name <name>", "what clients call the model; default the folder's name")
      .option("--host <address>", "where to listen; 0.0.0.0 is every address", "127.0.0.1")
      .option("--port <number>", "0 takes a free one", "8000")
      .option("--api-key-env <name>", "ask clients for the key in this environment variable")
      .option("--cors <origins>", "let pages of these origins call it, * any; several with commas")
      .option("--max-images <number>", "images in one request", "16")
      .option("--max-body <MiB>", "size of one request", "32")
      .option("--max-held <MiB>", "bodies and pictures of all requests", "512")
      .option("--max-waiting <megapixels>", "pictures of all requests that wait to be read", "200")
      .option("--max-requests <number>", "requests at work or waiting", "256"),
    keys,
    run: async (context, [path], options) => {
      const port = wholeNumber("--port", options.port);
      const limits = {
        maxImages: wholeNumber("--max-images", options.maxImages),
        maxBodyBytes: wholeNumber("--max-body", options.maxBody, 1) * 2 ** 20,
        maxRequests: wholeNumber("--max-requests", options.maxRequests, 1),
        maxHeldBytes: wholeNumber("--max-held", options.maxHeld, 1) * 2 ** 20,
        maxWaitingPixels: wholeNumber("--max-waiting", options.maxWaiting, 1) * 1e6,
      };
      const apiKey = keyOf(options.apiKeyEnv);
      const { recipeFor } = await import("../recipe-of-model.ts");
      const asked = { model: path, url: textOf(options.url), recipe: textOf(options.recipe) };
      const recipe = await recipeFor({ ...asked, overrides: context.overrides }, context.say);
      if (options.dryRun === true) return dryRun(recipe, "serve", context, keys);
      const { needsOf, openPlanned, planEngine } = await import("../engine-plan.ts");
      const { engineLabel, numPlaces } = await import("../engine/open.ts");
      const needs = { ...needsOf("sample", recipe), purpose: "serve" };
      const plan = await planEngine(recipe, recipe.engine, needs, { signal: context.signal });
      const { memoryLines } = await import("../engine-memory.ts");
      if (plan.memory !== undefined) memoryLines(plan.memory).forEach(context.say);
      const label = engineLabel(plan.engine);
      const name = String(options.name ?? basename(path === undefined ? label : resolve(path)));
      const { readModelCard } = await import("../task/model-card.ts");
      const { publishedSampling } = await import("../folder-recipe.ts");
      const card = await readModelCard(plan.folder);
      const sampling = card === null ? (await publishedSampling(plan.folder)).sampling : {};
      const { createApp } = await import("../serve/app.ts");
      const { startServer } = await import("../serve/server.ts");
      const engine = await openPlanned(plan);
      try {
        const app = createApp({
          sampler: engine,
          format: plan.episode,
          model: name,
          card,
          sampling,
          limits: { ...limits, ...samplesAtOnce(numPlaces(plan.engine)) },
          ...(apiKey === undefined ? {} : { apiKey }),
          ...corsOf(textOf(options.cors)),
          onError: (error) => context.say(describeError(error)),
        });
        const server = await startServer(app, { host: String(options.host), port });
        const ready = { url: server.url, model: name, folder: plan.folder };
        if (context.json) process.stdout.write(`${jsonLine(ready)}\n`);
        context.say(`${name} at ${server.url}; a page to try it: ${new URL("/", server.url).href}`);
        context.say("Ctrl-C ends it");
        if (!context.signal.aborted) await once(context.signal, "abort");
        await server.close();
        return { json: { stopped: true }, text: "stopped" };
      } finally {
        await engine.close();
      }
    },
  };
}

/** As many samples as the engine works on, and a few so that none of its places stands empty. */
function samplesAtOnce(places: number | undefined): { samplesAtOnce?: number } {
  return places === undefined ? {} : { samplesAtOnce: Math.ceil(places * 1.25) };
}

/** @throws VigorlError("usage") for what no browser calls an origin */
function corsOf(origins: string | undefined): { corsOrigins?: string[] } {
  if (origins === undefined) return {};
  const corsOrigins = origins.split(",").map((origin) => origin.trim());
  const odd = corsOrigins.find((one) => one !== "*" && !/^https?:\/\/[^/]+$/.test(one));
  if (odd === undefined) return { corsOrigins };
  throw new VigorlError("usage", `--cors: ${JSON.stringify(odd)} is no origin`, {
    hint: "write scheme and host, such as https://example.org or http://localhost:5173, or *",
  });
}

function keyOf(variable: unknown): string | undefined {
  if (typeof variable !== "string") return undefined;
  const key = process.env[variable];
  if (key) return key;
  throw new VigorlError("usage", `--api-key-env: the variable ${variable} is not set`, {
    hint: `export ${variable}=… before`,
  });
}
