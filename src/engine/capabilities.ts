/**
 * The one check of what an engine must be able to do. It is asked twice: of the kind, before anything
 * is loaded or connected, and of the engine itself once it is open (a server may turn out to give no
 * token ids, say).
 */
import { VigorlError } from "../core/errors.ts";
import type { Capabilities, Learner, Sampler } from "./types.ts";

export type Capability = Exclude<keyof Capabilities, "name" | "maxPositions">;

const words: Readonly<Record<Capability, string>> = {
  learn: "gradients, optimizer steps, checkpoints",
  tokenExact: "token ids exactly as they were sampled",
  promptLogprobs: "log-probabilities of given tokens",
  temperature: "log-probabilities at other temperatures than 1",
  entropy: "entropies beside log-probabilities",
  reference: "log-probabilities under frozen weights",
  blind: "log-probabilities with the pixels blanked",
  images: "images in prompts",
};

/** Capabilities of an engine that samples and does nothing else. */
export const samplingOnly: Readonly<Record<Capability, boolean>> = {
  learn: false,
  tokenExact: false,
  promptLogprobs: false,
  temperature: false,
  entropy: false,
  reference: false,
  blind: false,
  images: true,
};

/** Who needs what. */
export interface Needs {
  /** The verb or part, as it stands in messages. */
  readonly purpose: string;
  readonly capabilities: readonly Capability[];
}

/** @throws VigorlError("usage") naming each capability that is missing, and the engine. */
export function requireCapabilities(
  engine: Pick<Capabilities, "name" | Capability>,
  { purpose, capabilities }: Needs,
): void {
  const missing = capabilities.filter((capability) => !engine[capability]);
  if (missing.length === 0) return;
  const list = missing.map((capability) => `${capability} (${words[capability]})`);
  throw new VigorlError("usage", `${purpose}: ${engine.name} lacks ${list.join(", ")}`, {
    hint: "name an engine that has it; docs/engines.md has a table of what each can do",
  });
}

/** Narrows an engine that was found to learn. */
export function isLearner(engine: Sampler): engine is Learner {
  return engine.capabilities.learn;
}
