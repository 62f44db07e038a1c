/**
 * How episodes are played: the model folder's own format (tokenizer, chat template, preprocessor)
 * and the settings of the recipe. Search, SFT, RL, evaluation and serving share one of these, so that
 * they show a model the same prompts, observations and crops.
 */
import { z } from "zod";
import { VigorlError } from "../core/errors.ts";
import { withPreset } from "../core/preset.ts";
import type { PixelBudget } from "../image/model-image.ts";
import { readingNames } from "../image/reading.ts";
import { resizeOrders } from "../image/resize.ts";
import type { PreprocessorConfig } from "../image/preprocessor-config.ts";
import type { Coordinates } from "../image/frames.ts";
import { readProfile, type ModelProfile } from "../model/profile.ts";
import { loadChatFormat, type ChatFormat } from "../text/chat.ts";
import type { Dialect } from "../text/dialects/dialect.ts";
import { dialectNames, dialects } from "../text/dialects/table.ts";
import { promptSet, promptSetSchema, type PromptSet, type ToolSchema } from "../text/prompts.ts";
import { kindNames, kindOf, type KindName } from "./kinds.ts";
import { openJudge, ownJudgeSchema, type AnswerJudge } from "./own-judge.ts";
import type { ToolControl } from "./tools/controls.ts";
import { openTools } from "./tools/own-tool.ts";
import { makeTools, toolsSchema, usualTools } from "./tools/table.ts";
import type { Tool } from "./tools/tool.ts";

const promptStyles = [
  "direct",
  "thinking",
  "grounded",
  "ungrounded",
  "tools",
  "steps",
  "nano",
] as const;

const promptsSchema = promptSetSchema.partial().extend({
  style: z.enum(promptStyles).optional(),
  kinds: z
    .array(z.enum(kindNames))
    .optional()
    .describe("kinds of question that the sentences are for; others keep the style's own"),
});

const profileNames = ["default", "paper", "paper-multi", "repo", "repo-multi"] as const;
type ProfileName = (typeof profileNames)[number];
const profileField = z
  .enum(profileNames)
  .optional()
  .describe("preset that fills in what is not written: ours, the paper's, or the repository's");

const limitFields = z.strictObject({
  profile: profileField,
  maxTurns: z.int().positive().default(5).describe("assistant turns, the answering one included"),
  maxToolImages: z
    .int()
    .min(0)
    .default(4)
    .describe("images that tools may return; those of the question do not count"),
  maxTokensPerTurn: z.int().positive().default(1024).describe("tokens of one assistant turn"),
  maxTotalTokens: z
    .int()
    .positive()
    .default(4096)
    .describe("positions after the prompt: text of everybody and the images of tools"),
  forceAnswer: z
    .boolean()
    .default(true)
    .describe(
      "open the answer for the model in the last turn; else a further call ends the episode",
    ),
});
export type EpisodeLimits = Omit<z.infer<typeof limitFields>, "profile">;

const singleTurn = { maxTokensPerTurn: 2048, maxTotalTokens: 2048 };
const severalTurns = { maxTurns: 5, maxToolImages: 4, maxTokensPerTurn: 1024 };

/** The repository's bound of several turns counts crops by their area, which is what they cost here. */
export const episodeProfiles: Readonly<Record<ProfileName, Partial<z.input<typeof limitFields>>>> =
  {
    default: {},
    paper: singleTurn,
    "paper-multi": { ...severalTurns, maxTotalTokens: 4096 },
    repo: singleTurn,
    "repo-multi": { ...severalTurns, maxTotalTokens: 2048 },
  };

const limitsSchema = z.preprocess((input) => withPreset(input, episodeProfiles), limitFields);

/** Limits laid over those of the recipe. */
export const someLimitsSchema = z.strictObject({
  maxTurns: limitFields.shape.maxTurns.unwrap().optional(),
  maxToolImages: limitFields.shape.maxToolImages.unwrap().optional(),
  maxTokensPerTurn: limitFields.shape.maxTokensPerTurn.unwrap().optional(),
  maxTotalTokens: limitFields.shape.maxTotalTokens.unwrap().optional(),
  forceAnswer: limitFields.shape.forceAnswer.unwrap().optional(),
});

/** Bounds of a picture, laid over those of the model's folder or of the recipe. */
export const imageBounds = z.strictObject({
  minPixels: z.int().positive().optional().describe("smallest area"),
  maxPixels: z.int().positive().optional().describe("largest area"),
  maxSide: z
    .int()
    .positive()
    .optional()
    .describe("longest side, to which a picture is brought first; default: any"),
  reading: z
    .enum(readingNames)
    .optional()
    .describe(
      "whose rules files are read by where references disagree (rotation, transparency, 16-bit grey, thin pictures); default: own; see pixels.md",
    ),
  resize: z
    .enum(resizeOrders)
    .optional()
    .describe(
      "which axis is resampled first: as Pillow 13 chooses (the default), or always the rows, as Pillow up to 12 and torchvision",
    ),
});

/** For training: the paper says nothing of it, so its profiles have the repository's. */
export const imageProfiles: Readonly<Record<ProfileName, z.input<typeof imageBounds>>> = {
  default: {},
  paper: publishedImage(4_194_304),
  "paper-multi": publishedImage(2_850_000),
  repo: publishedImage(4_194_304),
  "repo-multi": publishedImage(2_850_000),
};

function publishedImage(maxPixels: number): z.input<typeof imageBounds> {
  return { minPixels: 3136, maxPixels, reading: "qwen-vl-utils" };
}

const imageSchema = z.preprocess(
  (input) => withPreset(input, imageProfiles),
  imageBounds.extend({ profile: profileField }),
);

export const episodeSettingsSchema = z.strictObject({
  tools: toolsSchema
    .default(usualTools)
    .describe("the tools that are offered, each with its settings; {} offers none"),
  dialect: z
    .enum(dialectNames)
    .optional()
    .describe(
      "how tool calls are written; default: as the model's family does, and published with tools.zoom.mode: repo",
    ),
  thinking: z
    .boolean()
    .optional()
    .describe(
      "whether the model is to think before it speaks, where its chat template lets that be chosen (enable_thinking); default: as the template does",
    ),
  episode: limitsSchema.prefault({}).describe("limits of an episode"),
  prompts: promptsSchema
    .prefault({})
    .describe(
      'the wording; `style` defaults to "tools" with tools and "grounded" without. Sentences replace it',
    ),
  promptsNoTool: promptsSchema.prefault({}).describe("laid over prompts where no tool is offered"),
  image: imageSchema
    .prefault({})
    .describe(
      "size of an image as the model sees it, in pixels; defaults to the model folder's preprocessor",
    ),
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
  judge: ownJudgeSchema
    .prefault({})
    .describe("who judges answers, besides the rules of their kinds"),
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
  /** In the order in which they are offered; without one an episode is a single turn. */
  readonly tools: readonly Tool[];
  readonly dialect: Dialect;
  readonly limits: EpisodeLimits;
  readonly promptsFor: (kind: KindName) => PromptSet;
  readonly sampling: Sampling;
  readonly coordinates: Coordinates;
  readonly answerForm: "tagged" | "whole";
  /** The recipe's own judge, in the place of the kinds' rules. */
  readonly judge?: AnswerJudge;
}

/**
 * Joins a model folder and settings. `control` changes every tool, for an experiment.
 * @throws VigorlError("input") for a folder that lacks a file and modules that cannot be loaded, "usage"
 *   for settings that contradict.
 */
export async function loadEpisodeConfig(
  folder: string,
  settings: EpisodeSettings = episodeSettingsSchema.parse({}),
  control: ToolControl | null = null,
): Promise<EpisodeConfig> {
  const [chat, profile, judge, ownTools] = await Promise.all([
    loadChatFormat(folder),
    readProfile(folder),
    openJudge(settings.judge),
    openTools(settings.tools.modules ?? []),
  ]);
  const config = makeEpisodeConfig(chat, profile, settings, control, ownTools);
  return judge === null ? config : { ...config, judge };
}

/** `loadEpisodeConfig` from parts that are already in memory, without a judge of the recipe's own. */
export function makeEpisodeConfig(
  ownChat: ChatFormat,
  profile: ModelProfile,
  settings: EpisodeSettings,
  control: ToolControl | null = null,
  ownTools: readonly Tool[] = [],
): EpisodeConfig {
  const { sampling, answerForm, thinking } = settings;
  const chat = thinking === undefined ? ownChat : ownChat.withThinking(thinking);
  const { preprocessor } = profile;
  const { profile: _, ...limits } = settings.episode;
  const coordinates = settings.coordinates ?? profile.coordinates;
  const tools = [...makeTools(settings.tools), ...ownTools].flatMap((tool) => {
    const changed = control === null ? tool : control(tool);
    return changed === null ? [] : [changed];
  });
  if (answerForm === "whole" && tools.length > 0) {
    throw new VigorlError("usage", 'answerForm "whole" does not go with tools', {
      hint: "set tools to {}, or answerForm to tagged",
    });
  }
  // A tool may say how its calls have to be read; else the model's family does.
  const asked = tools.find((tool) => tool.dialect !== null)?.dialect ?? profile.dialect;
  const dialect = dialects[settings.dialect ?? asked];
  return {
    chat,
    preprocessor,
    budget: budgetOf(settings, preprocessor),
    tools,
    dialect,
    limits,
    promptsFor: promptsOf(settings, { tools, dialect, coordinates }, chat),
    sampling,
    coordinates,
    answerForm,
  };
}

/** What a chat template is told of the tools: their schemas, or nothing where words tell them. */
export function templateTools({
  tools,
  dialect,
  chat,
  coordinates,
}: Pick<EpisodeConfig, "tools" | "dialect" | "chat" | "coordinates">): ToolSchema[] {
  return dialect.tells === "schemas" && chat.tellsTools
    ? schemasOf(tools, dialect.coordinates ?? coordinates)
    : [];
}

function schemasOf(tools: readonly Tool[], coordinates: Coordinates): ToolSchema[] {
  return tools.map((tool) => {
    const { $schema: _, ...parameters } = z.toJSONSchema(tool.args, { unrepresentable: "any" });
    const { ability } = tool.describe(coordinates);
    return {
      type: "function",
      function: { name: tool.names[0], description: ability, parameters },
    };
  });
}

function promptsOf(
  { prompts, promptsNoTool }: EpisodeSettings,
  about: Pick<EpisodeConfig, "tools" | "dialect" | "coordinates">,
  chat: ChatFormat,
): EpisodeConfig["promptsFor"] {
  const { tools, dialect, coordinates } = about;
  const written = tools.length > 0 ? prompts : { ...prompts, ...present(promptsNoTool) };
  const {
    style = tools.length > 0 ? "tools" : "grounded",
    kinds = kindNames,
    ...sentences
  } = written;
  const isToldHere = dialect.tells === "schemas" && !chat.tellsTools;
  const context = {
    tools: tools.map((tool) => tool.describe(dialect.coordinates ?? coordinates)),
    schemas: isToldHere ? schemasOf(tools, dialect.coordinates ?? coordinates) : [],
    dialect,
    coordinates,
  };
  return (kind) => ({
    ...promptSet(style, kindOf(kind).words, context),
    ...(kinds.includes(kind) ? present(sentences) : {}),
  });
}

/** @throws VigorlError("usage") where the smallest area is above the largest. */
function budgetOf({ image }: EpisodeSettings, preprocessor: PreprocessorConfig): PixelBudget {
  const minPixels = image.minPixels ?? preprocessor.minPixels;
  const maxPixels = image.maxPixels ?? preprocessor.maxPixels;
  if (minPixels > maxPixels) {
    throw new VigorlError("usage", `image.minPixels ${minPixels} is above maxPixels ${maxPixels}`, {
      hint: "set both image.minPixels and image.maxPixels; what is not set comes from the model folder",
    });
  }
  const { maxSide, reading, resize } = image;
  return { minPixels, maxPixels, ...present({ maxSide, reading, resize }) };
}

/** Without the keys that are undefined. */
export function present<T extends object>(
  value: T,
): Partial<{ [K in keyof T]: Exclude<T[K], undefined> }> {
  const entries = Object.entries(value).filter(([, entry]) => entry !== undefined);
  return Object.fromEntries(entries) as Partial<{ [K in keyof T]: Exclude<T[K], undefined> }>;
}
