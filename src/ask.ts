/**
 * Questions about pictures, for programs and for `vigorl ask`: `ask` puts one question, `openModel` keeps
 * a model open for many. Places in an answer are pixels of the picture as it was given, whatever the
 * model saw of it.
 */
import type { Override } from "./core/config.ts";
import { VigorlError } from "./core/errors.ts";
import { memoryLines } from "./engine-memory.ts";
import { needsOf, openPlanned, planEngine } from "./engine-plan.ts";
import { engineLabel } from "./engine/open.ts";
import { decodeImage, type RgbImage } from "./image/decode.ts";
import type { ReadingName } from "./image/reading.ts";
import { recipeFor } from "./recipe-of-model.ts";
import { readModelCard, type ModelCard } from "./task/model-card.ts";
import { askQuestion, type Answer, type QuestionOptions } from "./task/question.ts";

/** A picture: the path of a file, the bytes of one (PNG, JPEG, WebP, …), or pixels. */
export type Picture = string | Uint8Array | RgbImage;

/** Which model is asked, and how one talks to it. */
export interface ModelOptions {
  /**
   * A model folder in Hugging Face layout, or the folder of a run (its newest weights); with `url` the
   * server's name of the model. Default: that of the recipe, or the nano model.
   */
  readonly model?: string;
  /** An OpenAI-compatible server; the override `engine.folder` names the format of its prompts. */
  readonly url?: string;
  /** Recipe file with tools, prompts and image size; default: that of the run which trained the model. */
  readonly recipe?: string;
  /** Keys of the recipe, such as `{ path: "engine.device", value: "cuda" }`. */
  readonly overrides?: readonly Override[];
  readonly signal?: AbortSignal;
}

/** A model that answers questions until it is closed. Questions may be asked at once: they share batches. */
export interface OpenModel {
  /** What people call it: its folder, or its name at a server. */
  readonly label: string;
  /** What it says it is for; null where it says nothing. */
  readonly card: ModelCard | null;
  /** What memory it takes, and what of its settings comes from the files that it was published with. */
  readonly notes: readonly string[];
  /** @param picture one, or several as the question counts them */
  ask(
    picture: Picture | readonly Picture[],
    question: string,
    options?: QuestionOptions,
  ): Promise<Answer>;
  close(): Promise<void>;
}

/**
 * Asks a model one question about one picture.
 * @throws VigorlError("input") for a picture or a model folder that cannot be read.
 */
export async function ask(
  picture: Picture | readonly Picture[],
  question: string,
  options: ModelOptions & QuestionOptions,
): Promise<Answer> {
  const model = await openModel(options);
  try {
    return await model.ask(picture, question, options);
  } finally {
    await model.close();
  }
}

/** Opens a model for many questions. Its weights stay in memory until it is closed. */
export async function openModel({ overrides = [], ...asked }: ModelOptions): Promise<OpenModel> {
  const notes: string[] = [];
  const recipe = await recipeFor({ ...asked, overrides }, (note) => notes.push(note));
  const needs = { ...needsOf("sample", recipe), purpose: "ask" };
  const { signal } = asked;
  const plan = await planEngine(recipe, recipe.engine, needs, { signal });
  if (plan.memory !== undefined) notes.unshift(...memoryLines(plan.memory));
  const card = await readModelCard(plan.folder);
  const engine = await openPlanned(plan);
  return {
    label: engineLabel(plan.engine),
    card,
    notes,
    ask: async (asked, question, options = {}) => {
      if (question.trim() === "") throw new VigorlError("usage", "ask: the question is empty");
      const pictures = isList(asked) ? asked : [asked];
      if (pictures.length === 0) throw new VigorlError("usage", "ask: no picture");
      const { reading = "own" } = plan.episode.budget;
      const images = await Promise.all(pictures.map((picture) => imageOf(picture, reading)));
      const name = pictures.find((picture) => typeof picture === "string") ?? "picture";
      return askQuestion(engine, plan.episode, name, images, question, { ...options, card });
    },
    close: () => engine.close(),
  };
}

function isList(asked: Picture | readonly Picture[]): asked is readonly Picture[] {
  return Array.isArray(asked);
}

async function imageOf(picture: Picture, reading: ReadingName): Promise<RgbImage> {
  const isFile = typeof picture === "string" || picture instanceof Uint8Array;
  return isFile ? decodeImage(picture, { reading }) : picture;
}
