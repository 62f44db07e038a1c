/** What an arm took: tokens as they are paid for, calls of tools, time, and money where a price is known. */
import { z } from "zod";
import { priceSchema, type Price } from "../engine/remote/price.ts";
import type { Evaluation } from "./evaluate.ts";

export const spentSchema = z.strictObject({
  calls: z.int(),
  /** Of all calls together: every turn of an episode reads anew what stands before it. */
  promptTokens: z.int(),
  generatedTokens: z.int(),
  toolUses: z.int(),
  /** Of the try that finished it. */
  seconds: z.number(),
  price: priceSchema.optional(),
  /** In the currency of the price; absent without one. */
  cost: z.number().optional(),
});
export type Spent = z.infer<typeof spentSchema>;

/** Null for outcomes of runs that did not count their calls. */
export function spentOf({ outcomes, seconds, price }: Evaluation): Spent | null {
  const sum = { calls: 0, promptTokens: 0, generatedTokens: 0, toolUses: 0 };
  for (const { usage, toolUses } of outcomes) {
    if (usage === undefined) return null;
    sum.calls += usage.calls;
    sum.promptTokens += usage.prompt;
    sum.generatedTokens += usage.generated;
    sum.toolUses += toolUses;
  }
  const paid = price === undefined ? {} : { price, cost: costOf(sum, price) };
  return { ...sum, seconds, ...paid };
}

function costOf(
  { promptTokens, generatedTokens }: Pick<Spent, "promptTokens" | "generatedTokens">,
  { prompt, generated }: Price,
): number {
  return (promptTokens * prompt + generatedTokens * generated) / 1e6;
}

/** A whole number as people read it: 12,345. */
export function grouped(value: number): string {
  return value.toLocaleString("en-US");
}

/** An amount of money: two digits, or as many as show something. */
export function money(cost: number, { currency }: Pick<Price, "currency">): string {
  const digits = cost === 0 || cost >= 0.1 ? 2 : 1 - Math.floor(Math.log10(cost));
  return `${cost.toFixed(Math.min(digits, 8))} ${currency}`;
}

/** In a line: what it read and wrote, and how long that took. */
export function spentText({ promptTokens, generatedTokens, toolUses, seconds, ...paid }: Spent) {
  return [
    `${grouped(promptTokens)} prompt tokens`,
    `${grouped(generatedTokens)} generated`,
    `${grouped(toolUses)} tool uses`,
    `${seconds.toFixed(0)} s`,
    ...(paid.cost === undefined || paid.price === undefined ? [] : [money(paid.cost, paid.price)]),
  ].join(", ");
}
