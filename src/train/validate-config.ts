/** Every knob of validation during training, the same for `sft` and `rl`. */
import { z } from "zod";

export const validateSchema = z.strictObject({
  every: z
    .int()
    .min(1)
    .nullable()
    .default(null)
    .describe("steps between two validations; the last step has one too; null: none"),
  records: z
    .int()
    .min(1)
    .default(128)
    .describe("the first so many questions of data.validation, or of data.heldout"),
  temperature: z.number().min(0).default(0).describe("sampling temperature; 0 is greedy"),
  concurrency: z.int().min(1).default(64).describe("episodes in flight at once"),
  stopAfter: z
    .int()
    .min(1)
    .nullable()
    .default(null)
    .describe(
      "stop after so many validations in a row that were no better than the best; null: never",
    ),
});
export type ValidateConfig = z.infer<typeof validateSchema>;
