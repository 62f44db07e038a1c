/**
 * Questions about pictures, for programs and for `vigorl ask`: `ask` puts one question, `openModel` keeps
 * a model open for many. Places in an answer are pixels of the picture as it was given, whatever the
 * model saw of it.
 */
import type { Override } from "./core/config.ts";
import { VigorlError } from "./core/errors.ts";
import { needsOf, openPlanned, planEngine } from "./engine-plan.ts";
import { engineLabel } from "./engine/open.ts";
import type { Sampler } from "./engine/types.ts";
import { decodeImage, encodePng, type RgbImage } from "./image/decode.ts";
import { box, resizedToOriginal, type Box, type Point } from "./image/frames.ts";
import { recipeFor } from "./recipe-of-model.ts";
import { drawEpisode } from "./task/draw-episode.ts";
import type { EpisodeConfig } from "./task/episode-config.ts";
import { runEpisode } from "./task/episode.ts";
import { guessKind } from "./task/guess-kind.ts";
import type { KindName } from "./task/kinds.ts";
import type { TaskRecord } from "./task/record.ts";
import type { StopReason, Trajectory } from "./task/trajectory.ts";
import type { ChatFormat } from "./text/chat.ts";
import { StreamDecoder } from "./text/tokenizer.ts";

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

export interface QuestionOptions {
  /** The same seed gives the same answer. Default 1. */
  readonly seed?: number;
  /** What is asked for; default as the question reads. */
  readonly kind?: KindName;
  readonly signal?: AbortSignal;
  /** Told what the model writes while it writes it; `turn` counts from 1. */
  readonly onText?: (text: string, turn: number) => void;
}

export interface Answer {
  /** Null where the model gave none; `stopReason` says why. */
  readonly answer: string | null;
  readonly kind: KindName;
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
  /** What people call it: its folder, or its name at a server. */
  readonly label: string;
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
  const recipe = await recipeFor({ ...asked, overrides });
  const needs = { ...needsOf("sample", recipe), purpose: "ask" };
  const { signal } = asked;
  const plan = await planEngine(recipe, recipe.engine, needs, { signal });
  const engine = await openPlanned(plan);
  return {
    label: engineLabel(plan.engine),
    ask: (picture, question, options = {}) =>
      answerOf(engine, plan.episode, picture, question, options),
    close: () => engine.close(),
  };
}

async function answerOf(
  engine: Sampler,
  config: EpisodeConfig,
  picture: Picture,
  question: string,
  { seed = 1, signal, kind = guessKind(question), onText }: QuestionOptions,
): Promise<Answer> {
  if (question.trim() === "") throw new VigorlError("usage", "ask: the question is empty");
  const isFile = typeof picture === "string" || picture instanceof Uint8Array;
  const { reading = "own" } = config.budget;
  const image = isFile ? await decodeImage(picture, { reading }) : picture;
  const name = typeof picture === "string" ? picture : "picture";
  const record: TaskRecord = {
    id: name,
    images: [{ kind: "render", name, render: () => image }],
    question,
    kind,
    answer: "",
  };
  const sampler = onText === undefined ? engine : streaming(engine, config.chat, onText);
  const trajectory = await runEpisode(sampler, record, config, seed, { signal });
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
  return {
    answer,
    kind,
    stopReason,
    points,
    boxes,
    turns: turns.map(({ text }) => text),
    seconds,
    trajectory,
    drawn: () => encodePng(drawEpisode(image, trajectory)),
  };
}

/** Shows what the model writes while it writes it; episodes themselves stay as they are. */
function streaming(
  sampler: Sampler,
  chat: ChatFormat,
  onText: (text: string, turn: number) => void,
): Sampler {
  let turn = 0;
  return {
    capabilities: sampler.capabilities,
    close: () => sampler.close(),
    sample: async (prompt, params, options) => {
      const ofTurn = ++turn;
      const decoder = new StreamDecoder(chat.tokenizer, { skipSpecial: true });
      let numShown = 0;
      const show = (token: number) => {
        numShown++;
        // Rows that pad a vocabulary have no text; the episode ends there, and says so.
        if (chat.tokenizer.hasId(token)) onText(decoder.push(token), ofTurn);
      };
      const sample = await sampler.sample(prompt, params, { ...options, onToken: show });
      // A sampler need not tell single tokens; the rest is shown when it is there.
      for (const token of sample.tokens.slice(numShown)) show(token);
      onText(decoder.flush(), ofTurn);
      return sample;
    },
  };
}
