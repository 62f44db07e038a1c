/** How a server is reached: the `engine` section of kind `openai`, and the options of its sampler. */
import { z } from "zod";
import { autoOr, given } from "../../core/auto.ts";
import { pathText } from "../../core/config-paths.ts";
import { VigorlError } from "../../core/errors.ts";
import type { ChatFormat } from "../../text/chat.ts";
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
  folder: pathText(
    "local folder with the served model's tokenizer, chat template and preprocessor; a teacher's default is the recipe's own engine's",
  ).optional(),
  apiKeyEnv: z.string().min(1).optional().describe("environment variable that holds the API key"),
  server: z
    .enum(["auto", ...dialectNames])
    .default("auto")
    .describe("what the server is; auto asks it, plain uses the common protocol only"),
  maxPositions: autoOr(z.int().min(1)).describe(
    "context length of the model; auto: what the server says, without bound where it says nothing",
  ),
  concurrency: z.int().min(1).default(32).describe("requests in flight at once; others wait"),
  timeoutSeconds: z
    .number()
    .positive()
    .default(300)
    .describe("longest silence of the server, from the request on; waiting in line does not count"),
  retries: z.int().min(0).default(4).describe("further tries after busy servers and cut lines"),
  retryDelaySeconds: z
    .number()
    .min(0)
    .default(0.5)
    .describe("pause before the first of them; it doubles with each, up to a minute"),
});
export type OpenaiConfig = z.output<typeof openaiSchema>;

/** How requests wait, are watched and are tried again. */
export interface CallLimits {
  /** In flight at once. */
  readonly concurrency: number;
  /** Longest silence: before the answer begins, and between its pieces. */
  readonly timeoutMs: number;
  /** Tries after the first. */
  readonly retries: number;
  /** Pause before the first of them; it doubles up to a minute and is stretched at random. */
  readonly retryDelayMs: number;
}

export const defaultLimits: CallLimits = {
  concurrency: 32,
  timeoutMs: 300_000,
  retries: 4,
  retryDelayMs: 500,
};

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
  const { url, apiKeyEnv, server, concurrency, timeoutSeconds, retries } = config;
  const apiKey = apiKeyEnv === undefined ? undefined : process.env[apiKeyEnv];
  if (apiKeyEnv !== undefined && !apiKey) {
    throw new VigorlError("usage", `${url}: the variable ${apiKeyEnv} is not set`, {
      hint: `export ${apiKeyEnv}=… with the server's key, or take apiKeyEnv out of the recipe`,
    });
  }
  return {
    baseUrl: url,
    concurrency,
    timeoutMs: timeoutSeconds * 1000,
    retries,
    retryDelayMs: config.retryDelaySeconds * 1000,
    model: given(config.model),
    apiKey,
    dialect: given(server),
    maxPositions: given(config.maxPositions),
  };
}

export const defaultContinueRequest =
  "Your last message was cut off. Go on exactly where it stops, without repeating any of it.";
