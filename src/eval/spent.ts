/** What an arm took: tokens as they are paid for, calls of tools, time, and money where a price is known. */
import { z } from "zod";
import { priceSchema, type Price } from "../engine/remote/price.ts";
import type { Outcome } from "./outcome.ts";

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

/** Adds up what outcomes took, one after the other. */
export class Spending {
  private readonly sum = { calls: 0, promptTokens: 0, generatedTokens: 0, toolUses: 0 };
  private isCounted = true;

  add({ usage, toolUses }: Pick<Outcome, "usage" | "toolUses">): void {
    if (usage === undefined) this.isCounted = false;
    this.sum.calls += usage?.calls ?? 0;
    this.sum.promptTokens += usage?.prompt ?? 0;
    this.sum.generatedTokens += usage?.generated ?? 0;
    this.sum.toolUses += toolUses;
  }

  /** Null where an outcome is of a run that did not count its calls. */
  total(seconds: number, price: Price | undefined): Spent | null {
    if (!this.isCounted) return null;
    const paid = price === undefined ? {} : { price, cost: costOf(this.sum, price) };
    return { ...this.sum, seconds, ...paid };
  }
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
