/** Every knob of examples that are made from true answers. */
import { z } from "zod";

export const answersSchema = z.strictObject({
  form: z
    .enum(["auto", "bare", "thought", "grounded", "look"])
    .default("auto")
    .describe(
      "what stands before the answer: nothing, a thought, a thought at the places of the record's evidence, or a tool call that looks at each; auto: nothing where answerForm is whole or prompts.style direct, else as much as the record's evidence and the tools give",
    ),
  words: z
    .strictObject({
      think: z
        .string()
        .min(1)
        .default("I look at the image.")
        .describe("a thought without a place"),
      look: z
        .string()
        .min(1)
        .default("I look at {place}.")
        .describe("a thought at a place; `{place}` becomes the coordinate"),
      seen: z
        .string()
        .min(1)
        .default("I see it now.")
        .describe("the last thought, behind what the tool showed"),
    })
    .prefault({})
    .describe("what is said"),
  layout: z
    .enum(["inline", "block"])
    .default("block")
    .describe("single turns: the thought on the line of its tags, or on lines of its own"),
  maxExamples: z
    .int()
    .min(1)
    .nullable()
    .default(null)
    .describe("examples in all, drawn by the seed; null: every record"),
});
export type AnswersConfig = z.infer<typeof answersSchema>;
