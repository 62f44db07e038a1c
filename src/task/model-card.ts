/**
 * What a model says it is for: `vigorl.json` in its folder. Its settings are those sections of a recipe
 * that say how it is spoken to; words and pictures are what it was made on, where that is little, so that
 * a question beyond it is noticed. A folder needs none.
 */
import { join } from "node:path";
import { z } from "zod";
import { readModelJson } from "../core/json-file.ts";
import { parseAt } from "../core/jsonl.ts";
import { pictureFeatures, type PictureFeatures } from "../image/features.ts";
import type { RgbImage } from "../image/decode.ts";

export const cardFile = "vigorl.json";

const section = z.unknown().optional();
const range = z.tuple([z.number(), z.number()]);

export const modelCardSchema = z.strictObject({
  version: z.literal(1),
  about: z.string().max(1000).describe("what the model is for, in a sentence"),
  settings: z
    .strictObject({
      tools: section,
      dialect: section,
      thinking: section,
      episode: section,
      prompts: section,
      promptsNoTool: section,
      image: section,
      coordinates: section,
      answerForm: section,
      eval: z.strictObject({ temperature: section, topP: section, topK: section }).optional(),
    })
    .describe("sections of a recipe: how the model is spoken to"),
  examples: z.array(z.string().max(1000)).max(20).describe("questions that it can answer"),
  words: z
    .array(z.string())
    .optional()
    .describe("all words that it knows in a question, where they are few"),
  pictures: z
    .strictObject({
      about: z.string().max(1000).describe("what they show"),
      ranges: z
        .strictObject({
          aspect: range,
          sidePx: range,
          brightness: range,
          contrast: range,
          saturation: range,
          texture: range,
        } satisfies Record<keyof PictureFeatures, typeof range>)
        .partial()
        .describe("of their features, lowest and highest"),
    })
    .optional()
    .describe("the pictures that it was made for"),
});
export type ModelCard = z.infer<typeof modelCardSchema>;

/** The card of a model folder, null where it has none. @throws VigorlError("input") for a broken one */
export async function readModelCard(folder: string): Promise<ModelCard | null> {
  const file = join(folder, cardFile);
  const json = await readModelJson(file);
  return json === undefined ? null : parseAt(file, json, modelCardSchema);
}

/** What makes a question one that the model was not made for; empty where nothing does. */
export function doubtsAbout(
  { words, pictures, examples }: ModelCard,
  question: string,
  images: readonly RgbImage[],
): string[] {
  const known = new Set(words?.map((word) => word.toLowerCase()));
  const unknown =
    known.size === 0 ? [] : [...new Set(wordsOf(question))].filter((word) => !known.has(word));
  const [example] = examples;
  const such = example === undefined ? "" : `; ask for example: ${example}`;
  const quoted = unknown.slice(0, MAX_WORDS).map((word) => JSON.stringify(word));
  const more = unknown.length > MAX_WORDS ? ` and ${unknown.length - MAX_WORDS} more` : "";
  return [
    ...(unknown.length === 0
      ? []
      : [`the model knows ${known.size} words, and not ${quoted.join(", ")}${more}${such}`]),
    ...(pictures === undefined
      ? []
      : images.flatMap((image, i) => {
          const odd = oddFeatures(pictures.ranges, pictureFeatures(image));
          const which = images.length === 1 ? "the picture" : `picture ${i + 1}`;
          const why = odd.join(", ");
          return odd.length === 0
            ? []
            : [`${which} is unlike those that the model was made for (${pictures.about}): ${why}`];
        })),
  ];
}

/** The words of a question as a card lists them. */
export function wordsOf(question: string): string[] {
  return question.toLowerCase().match(/[\p{L}\p{M}]+/gu) ?? [];
}

const MAX_WORDS = 5;

/** In what a picture lies outside of the ranges of a card, in words. */
export function oddFeatures(
  ranges: NonNullable<ModelCard["pictures"]>["ranges"],
  features: PictureFeatures,
): string[] {
  return Object.entries(features).flatMap(([name, value]: [string, number]) => {
    const [low, high] = ranges[name as keyof PictureFeatures] ?? [-Infinity, Infinity];
    if (value >= low && value <= high) return [];
    const short = (one: number) => String(Number(one.toPrecision(3)));
    return [
      `${WORDS[name as keyof PictureFeatures]} ${short(value)}, not ${short(low)} to ${short(high)}`,
    ];
  });
}

const WORDS: Record<keyof PictureFeatures, string> = {
  aspect: "width to height",
  sidePx: "longest side in pixels",
  brightness: "brightness",
  contrast: "contrast",
  saturation: "saturation",
  texture: "texture",
};
