/** A learner behind a server that speaks the Tinker protocol, as `open.ts` knows it. */
import { VigorlError } from "../../core/errors.ts";
import { findPath } from "../../core/paths.ts";
import { readProfile } from "../../model/profile.ts";
import { loadChatFormat } from "../../text/chat.ts";
import type { EngineKind } from "../kind.ts";
import { apiKeyOf } from "../remote/api-key.ts";
import { limitsOf } from "../remote/limits.ts";
import { Connection } from "./connection.ts";
import { TinkerEngine } from "./learner.ts";
import { tinkerSchema, type TinkerConfig } from "./options.ts";
import { tinkerCapabilities } from "./sampler.ts";
import { Session, supportedModels, type SupportedModel } from "./session.ts";

export const tinkerKind: EngineKind<typeof tinkerSchema> = {
  schema: tinkerSchema,
  can: tinkerCapabilities,
  label: ({ url, baseModel, weights }) =>
    weights ?? `${baseModel === "auto" ? "the model" : baseModel} at ${url}`,
  processorFolder: ({ folder }) => findPath(folder),
  onWeights: (config, weights) =>
    tinkerSchema.shape.weights.safeParse(weights).success ? { ...config, weights } : undefined,
  async resolve(config, { trainable, signal }) {
    if (trainable === "all" && config.lora.rank > 0) {
      throw new VigorlError(
        "usage",
        "engine: adapters of a Tinker server are those of its language model",
        { hint: "set trainable of sft and rl to language" },
      );
    }
    const connection = connect(config);
    try {
      const model = modelOf(config, await supportedModels(connection, signal));
      const maxPositions =
        config.maxPositions === "auto" ? (model.maxPositions ?? "auto") : config.maxPositions;
      return { ...config, baseModel: model.name, maxPositions };
    } finally {
      await connection.close();
    }
  },
  async open(config, { processorFolder, trainable, signal }) {
    const chat = await loadChatFormat(processorFolder);
    const { preprocessor } = await readProfile(processorFolder);
    const connection = connect(config);
    let session: Session;
    try {
      session = await Session.open(connection, config, signal);
    } catch (error) {
      await connection.close();
      throw error;
    }
    const learns = trainable !== undefined;
    return TinkerEngine.open({ session, engine: config, chat, preprocessor, learns }, signal);
  },
};

function connect(config: TinkerConfig): Connection {
  const { url, apiKeyEnv, baseModel } = config;
  return new Connection({
    url: url.replace(/\/+$/, ""),
    apiKey: apiKeyOf(url, apiKeyEnv),
    model: baseModel,
    limits: limitsOf(config),
    resultMs: config.resultSeconds * 1000,
  });
}

/** @throws VigorlError("usage") where the server does not have the model, or nobody says which is meant */
function modelOf(
  { url, baseModel }: TinkerConfig,
  models: readonly SupportedModel[] | null,
): SupportedModel {
  if (models === null) {
    if (baseModel !== "auto") return { name: baseModel, maxPositions: null };
    throw new VigorlError("usage", `${url}: the server lists no models`, {
      hint: "name the one that is meant in engine.baseModel",
    });
  }
  if (baseModel === "auto" && models.length === 1) return models[0];
  const found = models.find(({ name }) => name === baseModel);
  if (found !== undefined) return found;
  const known = models.map(({ name }) => name).slice(0, 8);
  const what =
    baseModel === "auto"
      ? `the server has ${models.length} models, and none is named`
      : `the server has no model ${baseModel}`;
  throw new VigorlError("usage", `${url}: ${what}`, {
    hint: known.length === 0 ? "load one into it" : `engine.baseModel: one of ${known.join(", ")}`,
  });
}
