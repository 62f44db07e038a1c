/** The `lora` section: an adapter is trained in place of the weights. What it computes: model/adapter.ts. */
import { z } from "zod";

const names = z.union([z.string().min(1), z.array(z.string().min(1)).min(1)]);

export const loraSchema = z
  .strictObject({
    rank: z.int().min(1).max(4096).default(16).describe("of the two matrices beside each layer"),
    alpha: z
      .number()
      .gt(0)
      .default(32)
      .describe("what they add is multiplied by alpha / rank, or by alpha / √rank with rslora"),
    targets: names
      .default("all-linear")
      .describe(
        "layers that get one, among those that `trainable` allows: all-linear, a list of names as they end, or a regular expression for whole paths as transformers has them",
      ),
    exclude: names.optional().describe("layers that get none, named in the same ways"),
    rslora: z.boolean().default(false).describe("rank-stabilised: scaled by the root of the rank"),
    dropout: z
      .number()
      .min(0)
      .lt(1)
      .default(0)
      .describe("share of each layer's input that its adapter does not see while it is trained"),
  })
  .nullable()
  .default(null);
export type LoraConfig = NonNullable<z.output<typeof loraSchema>>;

/** What an engine needs to begin an adapter. */
export interface LoraStart extends LoraConfig {
  /** Of the first draw, and of dropout. */
  readonly seed: number;
}
