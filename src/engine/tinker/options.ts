/** The `engine` section of kind `tinker`: a learner behind a server that speaks the Tinker protocol. */
import { z } from "zod";
import { autoOr } from "../../core/auto.ts";
import { modelText } from "../../core/config-paths.ts";
import { apiKeyEnvField } from "../remote/api-key.ts";
import { priceField } from "../remote/price.ts";
import { limitFields } from "../remote/limits.ts";

export const tinkerSchema = z.strictObject({
  kind: z.literal("tinker"),
  url: z
    .url({ protocol: /^https?$/ })
    .describe("base URL of the server, without /api/v1, such as http://localhost:8000"),
  baseModel: autoOr(z.string().min(1)).describe(
    "model that the server adapts; auto: the only one it has",
  ),
  folder: modelText(
    "local folder with that model's tokenizer, chat template and preprocessor; no weights",
  ),
  weights: z
    .string()
    .regex(
      /^tinker:\/\/[^/]+\/(weights|sampler_weights)\/[^/]+$/,
      "a path such as tinker://<run>/weights/<name>",
    )
    .optional()
    .describe("checkpoint at the server to begin with; default: the base model as it is"),
  lora: z
    .strictObject({
      rank: z.int().min(0).default(32).describe("0: all weights, where a server trains those"),
      seed: z.int().min(0).default(1).describe("of the adapter's first weights"),
      attention: z.boolean().default(true).describe("adapt attention"),
      mlp: z.boolean().default(true).describe("adapt the MLPs"),
      unembed: z.boolean().default(true).describe("adapt the head"),
    })
    .prefault({})
    .describe("the adapter that is trained"),
  apiKeyEnv: apiKeyEnvField,
  maxPositions: autoOr(z.int().min(1)).describe(
    "context length; auto: what the server says of the model, without bound where it says nothing",
  ),
  ...limitFields,
  price: priceField,
  concurrency: limitFields.concurrency
    .removeDefault()
    .default(128)
    .describe("requests and results that are waited for at once"),
  resultSeconds: z
    .number()
    .positive()
    .default(3600)
    .describe("longest wait for the result of one call that the server has accepted"),
  unverifiedSums: z
    .boolean()
    .default(false)
    .describe(
      "train on a server that does not say what its losses come to, so that nobody can check that it sums them",
    ),
});
export type TinkerConfig = z.output<typeof tinkerSchema>;
