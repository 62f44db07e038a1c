/**
 * The dialects there are. A new one is its file and a line here.
 */
import type { Dialect } from "./dialect.ts";
import { hermes } from "./hermes.ts";
import { miniO3 } from "./mini-o3.ts";
import { published } from "./published.ts";
import { qwenXml } from "./qwen-xml.ts";
import { vigorl } from "./vigorl.ts";

export const dialects = {
  vigorl,
  hermes,
  published,
  "qwen-xml": qwenXml,
  "mini-o3": miniO3,
} satisfies Record<string, Dialect>;

export type DialectName = keyof typeof dialects;

export const dialectNames = Object.keys(dialects) as [DialectName, ...DialectName[]];
