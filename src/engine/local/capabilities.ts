/** What the local engine can do: everything, in one process. */
import type { Capability } from "../capabilities.ts";

export const localCapabilities: Readonly<Record<Capability, boolean>> = {
  learn: true,
  tokenExact: true,
  promptLogprobs: true,
  temperature: true,
  entropy: true,
  reference: true,
  blind: true,
  images: true,
};
