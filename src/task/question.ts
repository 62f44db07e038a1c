/**
 * A question that somebody has, without a truth to judge by: an episode played for its answer. Places in
 * an answer are pixels of the images as they were given, whatever the model saw of them.
 */
import { VigorlError } from "../core/errors.ts";
import type { Sampler } from "../engine/types.ts";
import { encodePng, type RgbImage } from "../image/decode.ts";
import { box, resizedToOriginal, type Box, type Point, type Size } from "../image/frames.ts";
import type { ChatFormat } from "../text/chat.ts";
import { StreamDecoder } from "../text/tokenizer.ts";
import { drawEpisode } from "./draw-episode.ts";
import type { EpisodeConfig } from "./episode-config.ts";
import { runEpisode } from "./episode.ts";
import { guessKind } from "./guess-kind.ts";
import { kindOf, type KindName } from "./kinds.ts";
import { doubtsAbout, type ModelCard } from "./model-card.ts";
import type { Picture, PictureId } from "./pictures.ts";
import type { TaskRecord } from "./record.ts";
import type { StopReason, Trajectory } from "./trajectory.ts";
import { openScene, sceneOf, type TurnState } from "./turn.ts";

export interface QuestionOptions {
  /** The same seed gives the same answer. Default 1. */
  readonly seed?: number;
  /** What is asked for; default as the question reads. */
  readonly kind?: KindName;
  readonly signal?: AbortSignal;
  /** Told what the model writes while it writes it; `turn` counts from 1. */
  readonly onText?: (text: string, turn: number) => void;
}

/** A place on an image that was given. */
export interface AnswerPoint extends Point<"original"> {
  /** Which image, from 0. */
  readonly image: PictureId;
  /** In which turn it was named, from 0. */
  readonly turn: number;
}

/** A part of an image that a tool showed. */
export interface AnswerBox extends Box<"original"> {
  readonly image: PictureId;
  readonly turn: number;
  readonly tool: string;
}

/** An image as it was given, and the size in which the model saw it. */
export interface AnswerImage extends Size {
  readonly seen: Size;
}

export interface Answer {
  /** Null where the model gave none; `stopReason` says why. */
  readonly answer: string | null;
  readonly kind: KindName;
  /** The reply that answers has the form that the model was asked for. */
  readonly wellFormed: boolean;
  readonly stopReason: StopReason;
  readonly images: readonly AnswerImage[];
  /** Where the answer itself points, for kinds that point. */
  readonly answerAt: Point<"original"> | null;
  /** Places that the model named while it thought, in order. */
  readonly points: readonly AnswerPoint[];
  /** What its tools showed it of the images, in order. */
  readonly boxes: readonly AnswerBox[];
  /** Those parts as it saw them. */
  readonly crops: readonly RgbImage[];
  /** What it wrote, turn by turn. */
  readonly turns: readonly string[];
  readonly seconds: number;
  /** What should make a reader doubt the answer. */
  readonly warnings: readonly string[];
  /** The record of tokens and pixels, for those who want to see more. */
  readonly trajectory: Trajectory;
  /** The first image with these places drawn into it, as a PNG. */
  drawn(): Promise<Uint8Array>;
}

/** What is asked about: images as pixels, or as pictures that somebody has read already. */
export type AskedImages = readonly RgbImage[] | { readonly pictures: readonly Picture[] };

export interface PlayOptions {
  /** What the model says it is for: questions beyond it are doubted. */
  readonly card?: ModelCard | null;
  /** Told what has been said and shown, after each turn. */
  readonly onTurn?: (state: TurnState) => void;
}

/**
 * Plays an episode for the answer. What a model writes is an answer, however bad.
 * @param name names the images in messages
 * @throws VigorlError("input") where the engine fails or the prompt has no room
 */
export async function askQuestion(
  sampler: Sampler,
  config: EpisodeConfig,
  name: string,
  asked: AskedImages,
  question: string,
  options: QuestionOptions & PlayOptions = {},
): Promise<Answer> {
  const { seed = 1, signal, kind = guessKind(question), onText, onTurn, card } = options;
  if (question.trim() === "") throw new VigorlError("usage", "ask: the question is empty");
  const images = "pictures" in asked ? asked.pictures.map(({ pixels }) => pixels()) : asked;
  const record: TaskRecord = {
    id: name,
    images: images.map((image) => ({ kind: "render", name, render: () => image })),
    question,
    kind,
    answer: "",
  };
  const scene =
    "pictures" in asked ? sceneOf(record, config, asked.pictures) : await openScene(record, config);
  let turn = 1;
  const shown =
    onText === undefined ? sampler : streaming(sampler, config.chat, (text) => onText(text, turn));
  const played = await runEpisode(shown, record, config, seed, {
    scene,
    onTurn: (state) => {
      turn = state.turns.length + 1;
      onTurn?.(state);
    },
    ...(signal && { signal }),
  });
  const { error, view, stopReason } = played;
  if (view === null || stopReason === "samplerError")
    throw new VigorlError("input", `ask: ${error}`);
  const doubts = card ? doubtsAbout(card, question, images) : [];
  return answerOf(played, images[0], kind, doubts);
}

function answerOf(
  trajectory: Trajectory,
  image: RgbImage,
  kind: KindName,
  doubts: readonly string[],
): Answer {
  const { answer, stopReason, pictures, points, view, turns, seconds } = trajectory;
  const given = pictures.filter(({ tool }) => tool === null);
  const last = turns.at(-1);
  const wellFormed = stopReason === "answered" && last !== undefined && last.wellFormed;
  return {
    answer,
    kind,
    wellFormed,
    stopReason,
    images: given.map(({ box: [, , x1, y1], widthPx, heightPx }) => ({
      widthPx: x1,
      heightPx: y1,
      seen: { widthPx, heightPx },
    })),
    answerAt: answer === null ? null : (kindOf(kind).place?.(answer, view) ?? null),
    points: points
      .filter(({ inImage }) => inImage)
      .map((named) => ({
        ...resizedToOriginal(named, view!.original, view!.resized),
        image: named.picture,
        turn: named.turn,
      })),
    boxes: pictures.flatMap((shown) =>
      shown.tool === null || shown.turn === null
        ? []
        : [
            {
              ...box("original", ...shown.box),
              image: shown.of,
              turn: shown.turn,
              tool: shown.tool,
            },
          ],
    ),
    crops: trajectory.chunks.flatMap((chunk) =>
      chunk.type === "image" && pictures[chunk.picture].tool !== null ? [chunk.image] : [],
    ),
    turns: turns.map(({ text }) => text),
    seconds,
    warnings: [...doubts, ...warningsOf(trajectory, wellFormed)],
    trajectory,
    drawn: () => encodePng(drawEpisode(image, trajectory)),
  };
}

function warningsOf(
  { error, stopReason, turns, toolUses }: Trajectory,
  wellFormed: boolean,
): string[] {
  const bad = turns.flatMap((turn, i) => (turn.wellFormed ? [] : [i + 1]));
  const failed = toolUses.filter(({ fault }) => fault !== null);
  return [
    ...(error === null ? [] : [error]),
    ...(stopReason === "answered" ? [] : [`the model gave no answer (${stopReason})`]),
    ...(stopReason === "answered" && !wellFormed
      ? ["the answer stands in a reply of another form than the model was asked for"]
      : []),
    ...(wellFormed && bad.length > 0 ? [`malformed: turn ${bad.join(", ")}`] : []),
    ...failed.map(({ tool, turn, fault }) => `turn ${turn + 1}: ${tool ?? "a tool"}: ${fault}`),
  ];
}

/** An answer as one line of JSON: `vigorl ask --json`, and what a server replies. */
export function answerJson(answer: Answer) {
  const { trajectory, crops, answerAt } = answer;
  return {
    answer: answer.answer,
    kind: answer.kind,
    wellFormed: answer.wellFormed,
    stopReason: answer.stopReason,
    images: answer.images,
    answerAt: answerAt === null ? null : { ...answerAt, image: 0 },
    points: answer.points,
    boxes: answer.boxes,
    crops: crops.map(({ widthPx, heightPx }) => ({ widthPx, heightPx })),
    turns: trajectory.turns.map(({ text, wellFormed, forced, numTokens }) => ({
      text,
      wellFormed,
      forced,
      numTokens,
    })),
    toolUses: trajectory.toolUses,
    numTokens: trajectory.numTokens,
    seconds: answer.seconds,
    warnings: answer.warnings,
  };
}

/** Shows what the model writes while it writes it; episodes themselves stay as they are. */
function streaming(sampler: Sampler, chat: ChatFormat, onText: (text: string) => void): Sampler {
  return {
    capabilities: sampler.capabilities,
    close: () => sampler.close(),
    sample: async (prompt, params, options) => {
      const decoder = new StreamDecoder(chat.tokenizer, { skipSpecial: true });
      let numShown = 0;
      const show = (token: number) => {
        numShown++;
        // Rows that pad a vocabulary have no text; the episode ends there, and says so.
        if (chat.tokenizer.hasId(token)) onText(decoder.push(token));
      };
      const sample = await sampler.sample(prompt, params, { ...options, onToken: show });
      // A sampler need not tell single tokens; the rest is shown when it is there.
      for (const token of sample.tokens.slice(numShown)) show(token);
      onText(decoder.flush());
      return sample;
    },
  };
}
