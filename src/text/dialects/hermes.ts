/**
 * The Hermes dialect, which Qwen's models are trained on: calls as in `vigorl.ts`, what comes back
 * between `<tool_response>` tags, and the tools told as JSON schemas between `<tools>` tags, by the
 * folder's chat template where it can and by our system prompt where it cannot.
 */
import { defaultTags } from "../tags.ts";
import type { Dialect } from "./dialect.ts";
import { vigorl } from "./vigorl.ts";

export const hermes: Dialect = {
  ...vigorl,
  name: "hermes",
  tags: {
    ...defaultTags,
    observation: { open: "<tool_response>", close: "</tool_response>" },
  },
  tells: "schemas",
};
