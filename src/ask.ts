/**
 * Questions about pictures, for programs: `ask` puts one question, `openModel` keeps a model open for
 * many. Places in an answer are pixels of the picture as it was given, whatever the model saw of it.
 */
import type { Sampler } from "./engine/types.ts";
import { encodePng, type RgbImage } from "./image/decode.ts";
import { box, resizedToOriginal, type Box, type Point } from "./image/frames.ts";
import { VigorlError } from "./core/errors.ts";
import { needsOf, openPlanned, planEngine } from "./engine-plan.ts";
import { recipeFor } from "./recipe-of-model.ts";
import { drawEpisode } from "./task/draw-episode.ts";
import type { EpisodeConfig } from "./task/episode-config.ts";
import { runEpisode } from "./task/episode.ts";
import { loadImages, type ImageSource, type TaskRecord } from "./task/record.ts";
import type { StopReason, Trajectory } from "./task/trajectory.ts";
import { guessKind } from "./task/guess-kind.ts";
import type { KindName } from "./task/kinds.ts";

/** A picture: the path of a file, the bytes of one (PNG, JPEG, WebP, …), or pixels. */
export type Picture = string | Uint8Array | RgbImage;

export interface QuestionOptions {
  /** The same seed gives the same answer. Default 1. */
  readonly seed?: number;
  /** What is asked for; default as the question reads. */
  readonly kind?: KindName;
  readonly signal?: AbortSignal;
}

export interface ModelOptions {
  /** Recipe file that says how to talk to the model; default: that of the run which trained it. */
  readonly recipe?: string;
}

export interface AskOptions extends QuestionOptions, ModelOptions {
  /** A model folder in Hugging Face layout, or the folder of a run (its newest weights). */
  readonly model: string;
}

export interface Answer {
  /** Null where the model gave none; `stopReason` says why. */
  readonly answer: string | null;
  readonly stopReason: StopReason;
  /** Places that the model named while it thought, in order. */
  readonly points: readonly Point<"original">[];
  /** What its tools showed it of the picture. */
  readonly boxes: readonly Box<"original">[];
  /** What it wrote, turn by turn. */
  readonly turns: readonly string[];
  readonly seconds: number;
  /** The record of tokens and pixels, for those who want to see more. */
  readonly trajectory: Trajectory;
  /** The picture with these places drawn into it, as a PNG. */
  drawn(): Promise<Uint8Array>;
}

/** A model that answers questions until it is closed. Questions may be asked at once: they share batches. */
export interface OpenModel {
  ask(picture: Picture, question: string, options?: QuestionOptions): Promise<Answer>;
  close(): Promise<void>;
}

/**
 * Asks a model one question about one picture.
 * @throws VigorlError("input") for a picture or a model folder that cannot be read.
 */
export async function ask(
  picture: Picture,
  question: string,
  options: AskOptions,
): Promise<Answer> {
  const model = await openModel(options.model, options);
  try {
    return await model.ask(picture, question, options);
  } finally {
    await model.close();
  }
}

/** Opens a model for many questions. Its weights stay in memory until it is closed. */
export async function openModel(model: string, options: ModelOptions = {}): Promise<OpenModel> {
  const recipe = await recipeFor({ model, recipe: options.recipe, overrides: [] });
  const needs = { ...needsOf("sample", recipe), purpose: "ask" };
  const plan = await planEngine(recipe, recipe.engine, needs, {});
  const engine = await openPlanned(plan);
  return {
    ask: (picture, question, about = {}) =>
      answerOf(engine, plan.episode, picture, question, about),
    close: () => engine.close(),
  };
}

async function answerOf(
  engine: Sampler,
  config: EpisodeConfig,
  picture: Picture,
  question: string,
  { seed = 1, signal, kind = guessKind(question) }: QuestionOptions,
): Promise<Answer> {
  if (question.trim() === "") throw new VigorlError("usage", "ask: the question is empty");
  const image = sourceOf(picture);
  const record: TaskRecord = {
    id: nameOf(image),
    images: [image],
    question,
    kind,
    answer: "",
  };
  const trajectory = await runEpisode(
    engine,
    record,
    config,
    seed,
    signal === undefined ? {} : { signal },
  );
  const { error, view, answer, stopReason, turns, seconds } = trajectory;
  // What a model writes is an answer, however bad; a picture or an engine that fails is none.
  if (view === null || stopReason === "samplerError")
    throw new VigorlError("input", `ask: ${error}`);
  const points = trajectory.points
    .filter((point) => point.inImage)
    .map((point) => resizedToOriginal(point, view.original, view.resized));
  const boxes = trajectory.pictures
    .filter((shown) => shown.tool !== null)
    .map((shown) => box("original", ...shown.box));
  const drawn = async () => {
    const [pixels] = await loadImages(record);
    return encodePng(drawEpisode(pixels, trajectory));
  };
  return {
    answer,
    stopReason,
    points,
    boxes,
    turns: turns.map(({ text }) => text),
    seconds,
    trajectory,
    drawn,
  };
}

function sourceOf(picture: Picture): ImageSource {
  if (typeof picture === "string") return { kind: "path", path: picture };
  if (picture instanceof Uint8Array) return { kind: "bytes", bytes: picture, name: "picture" };
  return { kind: "render", name: "picture", render: () => picture };
}

function nameOf(image: ImageSource): string {
  return image.kind === "path" ? image.path : image.name;
}
