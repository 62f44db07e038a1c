/** The key of a server. It never stands in a recipe or a manifest: they name a variable. */
import { z } from "zod";
import { VigorlError } from "../../core/errors.ts";

export const apiKeyEnvField = z
  .string()
  .min(1)
  .optional()
  .describe("environment variable that holds the API key");

/** @throws VigorlError("usage") where the variable is not set */
export function apiKeyOf(url: string, variable: string | undefined): string | undefined {
  const key = variable === undefined ? undefined : process.env[variable];
  if (variable === undefined || key) return key;
  throw new VigorlError("usage", `${url}: the variable ${variable} is not set`, {
    hint: `export ${variable}=… with the server's key, or take apiKeyEnv out of the recipe`,
  });
}
