/** How requests to a server wait, are watched and are tried again: settings that every remote engine has. */
import { z } from "zod";

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

/** Fields of an engine's section. */
export const limitFields = {
  concurrency: z
    .int()
    .min(1)
    .default(defaultLimits.concurrency)
    .describe("requests in flight at once; others wait"),
  timeoutSeconds: z
    .number()
    .positive()
    .default(defaultLimits.timeoutMs / 1000)
    .describe("longest silence of the server, from the request on; waiting in line does not count"),
  retries: z
    .int()
    .min(0)
    .default(defaultLimits.retries)
    .describe("further tries after busy servers and cut lines"),
  retryDelaySeconds: z
    .number()
    .min(0)
    .default(defaultLimits.retryDelayMs / 1000)
    .describe("pause before the first of them; it doubles with each, up to a minute"),
};

const limitsSchema = z.object(limitFields);

/** The limits that a section names. */
export function limitsOf(section: z.output<typeof limitsSchema>): CallLimits {
  const { concurrency, timeoutSeconds, retries, retryDelaySeconds } = section;
  return {
    concurrency,
    timeoutMs: timeoutSeconds * 1000,
    retries,
    retryDelayMs: retryDelaySeconds * 1000,
  };
}
