/** The body of `POST /v1/ask`, and what a played chat completion says in other words. */
import { z } from "zod";
import { kindNames } from "../task/kinds.ts";

const picture = z.string().describe("a data URL of a PNG, JPEG, WebP or GIF");

export const askRequestSchema = z
  .strictObject({
    model: z.string().optional().describe("the served model's name"),
    image: picture.optional(),
    images: z
      .array(picture)
      .min(1)
      .optional()
      .describe("several pictures, as the question counts them; instead of image"),
    question: z.string().regex(/\S/, "a question of some words"),
    kind: z.enum(kindNames).optional().describe("what is asked for; default as the question reads"),
    seed: z.int().optional().describe("the same seed gives the same answer; default 1"),
    temperature: z.number().min(0).max(100).optional().describe("default: the model's recipe"),
    stream: z.boolean().optional().describe("events while it looks, the answer last"),
  })
  .refine(({ image, images }) => (image === undefined) !== (images === undefined), {
    message: "give either image or images",
    path: ["image"],
  });
export type AskRequest = z.infer<typeof askRequestSchema>;

/** A question to be played, from whatever request. */
export interface PlayedQuestion extends Pick<AskRequest, "kind" | "seed"> {
  readonly urls: readonly string[];
  readonly question: string;
  /** Replaces that of the recipe. */
  readonly system?: string;
  readonly sampling?: {
    readonly temperature?: number;
    readonly topP?: number;
    readonly topK?: number;
  };
  /** Positions after the prompt, at most. */
  readonly maxTokens?: number;
}

const size = { widthPx: z.int(), heightPx: z.int() };
const place = { frame: z.literal("original"), image: z.int() };

/** An answer: places are pixels of the image as it was given, `image` and `turn` count from 0. */
export const askReplySchema = z.strictObject({
  id: z.string(),
  object: z.literal("answer"),
  model: z.string(),
  answer: z.string().nullable(),
  kind: z.enum(kindNames),
  wellFormed: z.boolean(),
  stopReason: z.string(),
  images: z.array(z.strictObject({ ...size, seen: z.strictObject(size) })),
  answerAt: z.strictObject({ ...place, x: z.number(), y: z.number() }).nullable(),
  points: z.array(z.strictObject({ ...place, x: z.number(), y: z.number(), turn: z.int() })),
  boxes: z.array(
    z.strictObject({
      ...place,
      x0: z.number(),
      y0: z.number(),
      x1: z.number(),
      y1: z.number(),
      turn: z.int(),
      tool: z.string(),
    }),
  ),
  crops: z
    .array(z.strictObject({ ...size, url: z.string() }))
    .describe("what the model saw of each box, as a data URL"),
  turns: z.array(
    z.strictObject({
      text: z.string(),
      wellFormed: z.boolean(),
      forced: z.boolean(),
      numTokens: z.int(),
    }),
  ),
  toolUses: z.array(z.unknown()),
  numTokens: z.strictObject({
    prompt: z.int(),
    model: z.int(),
    environment: z.int(),
    forced: z.int(),
  }),
  seconds: z.number(),
  warnings: z.array(z.string()),
});
export type AskReply = z.infer<typeof askReplySchema>;

/** An event of a streamed answer; the answer itself is the last one, then `[DONE]`. */
export const askEventSchema = z.discriminatedUnion("type", [
  z.strictObject({ type: z.literal("text"), turn: z.int(), text: z.string() }),
  z.strictObject({
    type: z.literal("crop"),
    ...place,
    x0: z.number(),
    y0: z.number(),
    x1: z.number(),
    y1: z.number(),
    turn: z.int(),
    tool: z.string(),
  }),
  z.strictObject({ type: z.literal("alive") }),
  askReplySchema.extend({ type: z.literal("answer") }),
]);
export type AskEvent = z.infer<typeof askEventSchema>;
