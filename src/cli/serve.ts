/** `vigorl serve`: a model behind an OpenAI-compatible API, until it is interrupted. */
import { Command } from "commander";
import { once } from "node:events";
import { basename, resolve } from "node:path";
import { describeError, VigorlError } from "../core/errors.ts";
import { findPath } from "../core/paths.ts";
import { jsonLine } from "../core/plain-text.ts";
import { wholeNumber, type Verb } from "./frame.ts";

export function serveVerb(): Verb {
  return {
    command: new Command("serve")
      .description("serve a model over an OpenAI-compatible API")
      .argument("[model]", "model folder, or a run folder (its newest weights)", "models/nano")
      .option("--recipe <file>", "take device and image size from this recipe")
      .option("--name <name>", "what clients call the model; default the folder's name")
      .option("--host <address>", "where to listen; 0.0.0.0 is every address", "127.0.0.1")
      .option("--port <number>", "0 takes a free one", "8000")
      .option("--api-key-env <name>", "ask clients for the key in this environment variable")
      .option("--max-images <number>", "images in one request", "16")
      .option("--max-body <MiB>", "size of one request", "64")
      .option("--max-requests <number>", "requests at work or waiting", "256"),
    run: async (context, [path = ""], options) => {
      const port = wholeNumber("--port", options.port);
      const limits = {
        maxImages: wholeNumber("--max-images", options.maxImages),
        maxBodyBytes: wholeNumber("--max-body", options.maxBody, 1) * 2 ** 20,
        maxRequests: wholeNumber("--max-requests", options.maxRequests, 1),
      };
      const apiKey = keyOf(options.apiKeyEnv);
      const { modelOf, recipeOf } = await import("../recipe-of-model.ts");
      const { checkedModelFolder } = await import("./model-folder.ts");
      const model = await checkedModelFolder(await modelOf(findPath(path)));
      const recipe = await recipeOf(model, options.recipe, context.overrides);
      const name = String(options.name ?? basename(resolve(path)));
      const { episodeConfig, openEngine } = await import("../stages.ts");
      const { createApp } = await import("../serve/app.ts");
      const { startServer } = await import("../serve/server.ts");
      const format = await episodeConfig(recipe, model);
      const engine = await openEngine(recipe, model, "all");
      try {
        const app = createApp({
          sampler: engine,
          format,
          model: name,
          limits,
          ...(apiKey === undefined ? {} : { apiKey }),
          onError: (error) => context.say(describeError(error)),
        });
        const server = await startServer(app, { host: String(options.host), port });
        const ready = { url: server.url, model: name, folder: model };
        if (context.json) process.stdout.write(`${jsonLine(ready)}\n`);
        context.say(`${name} at ${server.url}; Ctrl-C ends it`);
        if (!context.signal.aborted) await once(context.signal, "abort");
        await server.close();
        return { json: { stopped: true }, text: "stopped" };
      } finally {
        await engine.close();
      }
    },
  };
}

function keyOf(variable: unknown): string | undefined {
  if (typeof variable !== "string") return undefined;
  const key = process.env[variable];
  if (key) return key;
  throw new VigorlError("usage", `--api-key-env: the variable ${variable} is not set`, {
    hint: `export ${variable}=… before`,
  });
}
