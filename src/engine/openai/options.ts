/** How a server is reached: the options of a remote sampler, and the recipe section they come from. */
import { z } from "zod";
import { VigorlError } from "../../core/errors.ts";
import type { ChatFormat } from "../../text/chat.ts";
import { dialectNames, type DialectName } from "./dialect.ts";

/** A server as a recipe names it. The key itself never stands in a recipe. */
export const remoteSchema = z.strictObject({
  url: z
    .url({ protocol: /^https?$/ })
    .describe("base URL of the API, such as http://localhost:8000/v1"),
  model: z
    .string()
    .min(1)
    .optional()
    .describe("name under which the server knows the model; default the only one it has"),
  apiKeyEnv: z.string().min(1).optional().describe("environment variable that holds the API key"),
  server: z
    .enum(["auto", ...dialectNames])
    .default("auto")
    .describe("what the server is; auto asks it, plain uses the common protocol only"),
  concurrency: z.int().min(1).default(32).describe("requests in flight at once"),
  timeoutSeconds: z.number().positive().default(300).describe("longest silence of the server"),
  retries: z.int().min(0).default(4).describe("further tries after busy servers and cut lines"),
  maxPositions: z.int().positive().optional().describe("context length; default what it says"),
});
export type RemoteConfig = z.infer<typeof remoteSchema>;

export interface RemoteOptions {
  /** Base URL of the API, `/v1` included. */
  readonly baseUrl: string;
  /** Default: the only one the server has. */
  readonly model?: string;
  /** The format that prompts are written in; for exact tokens the one of the served model. */
  readonly chat: ChatFormat;
  readonly apiKey?: string;
  /** Found out from the server when absent. */
  readonly dialect?: DialectName;
  /** Requests in flight at once. Default 32. */
  readonly concurrency?: number;
  /** Longest silence: before the answer begins, and between its pieces. Default 300 000. */
  readonly timeoutMs?: number;
  /** Tries after the first. Default 4. */
  readonly retries?: number;
  /** Pause before the first of them; it doubles up to a minute. Default 500. */
  readonly retryDelayMs?: number;
  /** Context length of the model; default what the server says, else without bound. */
  readonly maxPositions?: number;
  /** Asks a server that cannot continue a message to go on with its last one. */
  readonly continueRequest?: string;
}

/**
 * The options behind a recipe's section.
 * @throws VigorlError("usage") when the environment variable of the key is not set.
 */
export function remoteOptions(config: RemoteConfig, chat: ChatFormat): RemoteOptions {
  const { url, model, apiKeyEnv, server, concurrency, timeoutSeconds, retries } = config;
  const apiKey = apiKeyEnv === undefined ? undefined : process.env[apiKeyEnv];
  if (apiKeyEnv !== undefined && !apiKey) {
    throw new VigorlError("usage", `${url}: the variable ${apiKeyEnv} is not set`, {
      hint: `export ${apiKeyEnv}=… with the server's key, or take apiKeyEnv out of the recipe`,
    });
  }
  return {
    baseUrl: url,
    chat,
    concurrency,
    timeoutMs: timeoutSeconds * 1000,
    retries,
    ...(model === undefined ? {} : { model }),
    ...(apiKey === undefined ? {} : { apiKey }),
    ...(server === "auto" ? {} : { dialect: server }),
    ...(config.maxPositions === undefined ? {} : { maxPositions: config.maxPositions }),
  };
}

export const defaultContinueRequest =
  "Your last message was cut off. Go on exactly where it stops, without repeating any of it.";
