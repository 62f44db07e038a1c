/**
 * ViGoRL's dialect: one JSON object between `<tool_call>` tags, observations between `<observation>`
 * tags, and a system prompt that tells in words what can be called (paper §4.3.1).
 */
import { defaultTags } from "../tags.ts";
import type { Dialect } from "./dialect.ts";
import { readJsonCall, writeJsonCall } from "./json-call.ts";
import { stringsOf } from "./loose-json.ts";

export const vigorl: Dialect = {
  name: "vigorl",
  tags: defaultTags,
  tells: "words",
  isNameless: false,
  read: readJsonCall,
  write: writeJsonCall,
  quotes: stringsOf,
};
