/**
 * The dialects there are. A new one is its file and a line here.
 */
import type { Dialect } from "./dialect.ts";
import { hermes } from "./hermes.ts";
import { published } from "./published.ts";
import { vigorl } from "./vigorl.ts";

export const dialects = { vigorl, hermes, published } satisfies Record<string, Dialect>;

export type DialectName = keyof typeof dialects;

export const dialectNames = Object.keys(dialects) as [DialectName, ...DialectName[]];
