/** How a server is reached: the `engine` section of kind `openai`, and the options of its sampler. */
import { z } from "zod";
import { autoOr, given } from "../../core/auto.ts";
import { modelText } from "../../core/config-paths.ts";
import type { ChatFormat } from "../../text/chat.ts";
import { apiKeyEnvField, apiKeyOf } from "../remote/api-key.ts";
import { priceField } from "../remote/price.ts";
import { limitFields, limitsOf, type CallLimits } from "../remote/limits.ts";
import { dialectNames, type DialectName } from "./dialect.ts";

/** A server as a recipe names it. The key itself never stands in a recipe. */
export const openaiSchema = z.strictObject({
  kind: z.literal("openai"),
  url: z
    .url({ protocol: /^https?$/ })
    .describe("base URL of the API, such as http://localhost:8000/v1"),
  model: autoOr(z.string().min(1)).describe(
    "name under which the server knows the model; auto: the only one it has",
  ),
  folder: modelText(
    "local folder with the served model's tokenizer, chat template and preprocessor; a teacher's default is the recipe's own engine's",
  ).optional(),
  apiKeyEnv: apiKeyEnvField,
  server: z
    .enum(["auto", ...dialectNames])
    .default("auto")
    .describe("what the server is; auto asks it, plain uses the common protocol only"),
  maxPositions: autoOr(z.int().min(1)).describe(
    "context length of the model; auto: what the server says, without bound where it says nothing",
  ),
  ...limitFields,
  price: priceField,
});
export type OpenaiConfig = z.output<typeof openaiSchema>;

export interface RemoteOptions extends Partial<CallLimits> {
  /** Base URL of the API, `/v1` included. */
  readonly baseUrl: string;
  /** Default: the only one the server has. */
  readonly model?: string;
  /** The format that prompts are written in; for exact tokens the one of the served model. */
  readonly chat: ChatFormat;
  readonly apiKey?: string;
  /** Found out from the server when absent. */
  readonly dialect?: DialectName;
  /** Context length of the model; default what the server says, else without bound. */
  readonly maxPositions?: number;
  /** Asks a server that cannot continue a message to go on with its last one. */
  readonly continueRequest?: string;
}

/**
 * The options behind a recipe's section.
 * @throws VigorlError("usage") when the environment variable of the key is not set.
 */
export function remoteOptions(config: OpenaiConfig): Omit<RemoteOptions, "chat"> {
  const { url, apiKeyEnv, server } = config;
  return {
    baseUrl: url,
    ...limitsOf(config),
    model: given(config.model),
    apiKey: apiKeyOf(url, apiKeyEnv),
    dialect: given(server),
    maxPositions: given(config.maxPositions),
  };
}

export const defaultContinueRequest =
  "Your last message was cut off. Go on exactly where it stops, without repeating any of it.";
