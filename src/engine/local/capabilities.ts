/** What the local engine can do: everything, in one process. */
import { samplingOnly, type Capability } from "../capabilities.ts";

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

/** Of one that is opened only to sample: its weights may have given way to packed ones. */
export const samplingCapabilities: typeof localCapabilities = {
  ...samplingOnly,
  tokenExact: true,
  temperature: true,
};
