/**
 * How episodes are played: the model folder's own format (tokenizer, chat template, preprocessor)
 * and the settings of the recipe. Search, SFT, RL, evaluation and serving share one of these, so that
 * they show a model the same prompts, observations and crops.
 */
import { z } from "zod";
import { VigorlError } from "../core/errors.ts";
import type { PixelBudget } from "../image/model-image.ts";
import type { PreprocessorConfig } from "../image/preprocessor-config.ts";
import type { Coordinates } from "../model/families/family.ts";
import { readProfile } from "../model/profile.ts";
import { loadChatFormat, type ChatFormat } from "../text/chat.ts";
import {
  answerKinds,
  promptSet,
  promptSetSchema,
  type AnswerKind,
  type PromptSet,
} from "../text/prompts.ts";
import { zoomConfigSchema, type ZoomConfig } from "./zoom.ts";

const promptStyles = [
  "direct",
  "thinking",
  "grounded",
  "ungrounded",
  "zoom",
  "steps",
  "nano",
] as const;

export const episodeSettingsSchema = z.strictObject({
  zoom: zoomConfigSchema.prefault({}),
  prompts: promptSetSchema
    .partial()
    .extend({
      style: z.enum(promptStyles).optional(),
      kinds: z
        .array(z.enum(answerKinds))
        .optional()
        .describe("kinds of question that the sentences are for; others keep the style's own"),
    })
    .prefault({})
    .describe(
      'the wording; `style` defaults to "zoom" with the tool and "grounded" without. Sentences replace it',
    ),
  image: z
    .strictObject({
      minPixels: z.int().positive().optional(),
      maxPixels: z.int().positive().optional(),
    })
    .prefault({})
    .describe("area of an image as the model sees it; defaults to the model folder's preprocessor"),
  sampling: z
    .strictObject({
      temperature: z.number().nonnegative().default(1).describe("0 is greedy"),
      topP: z.number().positive().max(1).default(1),
      topK: z.int().nonnegative().default(0).describe("0 switches it off"),
    })
    .prefault({}),
  coordinates: z
    .enum(["resized", "relative"])
    .optional()
    .describe("how the model writes coordinates; defaults to what its family does"),
  answerForm: z
    .enum(["tagged", "whole"])
    .default("tagged")
    .describe('"whole" takes the whole reply as the answer, for models asked to answer directly'),
});

export type EpisodeSettings = z.infer<typeof episodeSettingsSchema>;

export interface Sampling {
  readonly temperature: number;
  readonly topP: number;
  readonly topK: number;
  /** Let the model end its turns itself behind a closing tag: what it says there is trained on. */
  readonly endOfTurn?: boolean;
}

export interface EpisodeConfig {
  readonly chat: ChatFormat;
  readonly preprocessor: PreprocessorConfig;
  readonly budget: PixelBudget;
  readonly zoom: ZoomConfig;
  readonly promptsFor: (kind: AnswerKind) => PromptSet;
  readonly sampling: Sampling;
  readonly coordinates: Coordinates;
  readonly answerForm: "tagged" | "whole";
}

/**
 * Joins a model folder and settings.
 * @throws VigorlError("input") for a folder that lacks a file, "usage" for settings that contradict.
 */
export async function loadEpisodeConfig(
  folder: string,
  settings: EpisodeSettings = episodeSettingsSchema.parse({}),
): Promise<EpisodeConfig> {
  const [chat, { preprocessor, coordinates }] = await Promise.all([
    loadChatFormat(folder),
    readProfile(folder),
  ]);
  return makeEpisodeConfig(chat, preprocessor, coordinates, settings);
}

/** `loadEpisodeConfig` from parts that are already in memory. */
export function makeEpisodeConfig(
  chat: ChatFormat,
  preprocessor: PreprocessorConfig,
  coordinates: Coordinates,
  settings: EpisodeSettings,
): EpisodeConfig {
  const { zoom, sampling, answerForm } = settings;
  if (answerForm === "whole" && zoom.enabled) {
    throw new VigorlError("usage", 'answerForm "whole" does not go with the zoom tool', {
      hint: "set zoom.enabled to false, or answerForm to tagged",
    });
  }
  const budget = {
    minPixels: settings.image.minPixels ?? preprocessor.minPixels,
    maxPixels: settings.image.maxPixels ?? preprocessor.maxPixels,
  };
  const {
    style = zoom.enabled ? "zoom" : "grounded",
    kinds = answerKinds,
    ...sentences
  } = settings.prompts;
  const promptsFor = (kind: AnswerKind): PromptSet => ({
    ...promptSet(style, kind, zoom.toolName),
    ...(kinds.includes(kind) ? present(sentences) : {}),
  });
  return {
    chat,
    preprocessor,
    budget,
    zoom,
    promptsFor,
    sampling,
    coordinates: settings.coordinates ?? coordinates,
    answerForm,
  };
}

function present<T extends object>(
  value: T,
): Partial<{ [K in keyof T]: Exclude<T[K], undefined> }> {
  const entries = Object.entries(value).filter(([, entry]) => entry !== undefined);
  return Object.fromEntries(entries) as Partial<{ [K in keyof T]: Exclude<T[K], undefined> }>;
}
