/** What a server asks for its tokens, as the owner of a recipe knows it; nobody guesses one. */
import { z } from "zod";

export const priceSchema = z.strictObject({
  prompt: z.number().min(0).describe("for a million tokens of prompts"),
  generated: z.number().min(0).describe("for a million tokens that the model writes"),
  currency: z.string().min(1).max(12).default("USD").describe("as reports write it"),
});
export type Price = z.output<typeof priceSchema>;

export const priceField = priceSchema
  .optional()
  .describe("what its tokens cost, so that evaluations say what they cost; without it they do not");
