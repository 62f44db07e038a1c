/**
 * One assistant turn as a step from state to state: the model speaks, and a tool call brings a crop.
 * Episodes take one turn after the other; search branches from any state. States are never changed,
 * so that branches share what came before them.
 */
import { deriveSeed } from "../core/random.ts";
import type { Sample, Sampler } from "../engine/types.ts";
import { numPositions } from "../engine/types.ts";
import { contains } from "../image/frames.ts";
import type { RgbImage } from "../image/decode.ts";
import type { ModelImage } from "../image/model-image.ts";
import { forcedAnswerPrefix, parseTurn, stopStrings, type ParsedTurn } from "../text/grammar.ts";
import { zoomToolNames } from "../text/tool-call.ts";
import type { EpisodeConfig } from "./episode-config.ts";
import { observationChunks, promptChunks, viewImages } from "./prompt.ts";
import { loadImages, type TaskRecord } from "./record.ts";
import {
  toChunks,
  type AnswerView,
  type AuthoredChunk,
  type EpisodePoint,
  type EpisodeTurn,
  type EpisodeZoom,
  type StopReason,
} from "./trajectory.ts";
import { pointToResized, zoomStep } from "./zoom.ts";

/** A record with its images loaded, before anybody has spoken. */
export interface Scene {
  readonly record: TaskRecord;
  readonly config: EpisodeConfig;
  /** The first image, in its original pixels: crops are cut from it. */
  readonly image: RgbImage;
  /** All images as the model sees them. */
  readonly seen: readonly ModelImage[];
  readonly view: AnswerView;
  readonly prompt: readonly AuthoredChunk[];
  readonly promptPositions: number;
}

/** What was said and shown so far, the prompt included. */
export interface TurnState {
  readonly chunks: readonly AuthoredChunk[];
  readonly turns: readonly EpisodeTurn[];
  readonly points: readonly EpisodePoint[];
  readonly zooms: readonly EpisodeZoom[];
}

/** How a conversation ended. */
export interface TurnEnd {
  readonly stopReason: StopReason;
  readonly answer: string | null;
  readonly error: string | null;
  /** What was thrown, for "samplerError" and "inputError". */
  readonly cause?: unknown;
}

export interface TurnOptions {
  /** Turn k draws from a seed derived from this one and k. */
  readonly seed: number;
  readonly signal?: AbortSignal;
  /** Open the answer for the model now, whatever the limits say. */
  readonly force?: boolean;
}

/**
 * Loads the images of a record and writes its prompt. Episodes of one record that are played at the
 * same time share one scene, so that a group decodes and resizes its images once.
 * @throws VigorlError("input") when an image is missing or broken.
 */
export async function openScene(record: TaskRecord, config: EpisodeConfig): Promise<Scene> {
  const known = openScenes.get(record);
  const shared = known?.config === config ? (known.pending ?? known.scene?.deref()) : undefined;
  if (shared !== undefined) return shared;
  const pending = loadScene(record, config);
  openScenes.set(record, { config, pending, scene: null });
  try {
    const scene = await pending;
    openScenes.set(record, { config, pending: null, scene: new WeakRef(scene) });
    return scene;
  } catch (error) {
    openScenes.delete(record);
    throw error;
  }
}

/** Scenes that somebody may still hold; a scene that nobody holds is forgotten. */
const openScenes = new WeakMap<
  TaskRecord,
  {
    readonly config: EpisodeConfig;
    readonly pending: Promise<Scene> | null;
    readonly scene: WeakRef<Scene> | null;
  }
>();

async function loadScene(record: TaskRecord, config: EpisodeConfig): Promise<Scene> {
  const images = await loadImages(record);
  const { seen, view } = viewImages(config, images);
  const prompt = promptChunks(config, record, seen);
  const promptPositions = numPositions(toChunks(prompt));
  return { record, config, image: images[0], seen, view, prompt, promptPositions };
}

/** The state in which the first turn is taken. */
export function firstState(scene: Scene): TurnState {
  return { chunks: scene.prompt, turns: [], points: [], zooms: [] };
}

/**
 * Takes one turn. `end` is null where the conversation goes on; an engine's failure is an end too.
 * @throws the signal's reason when aborted, and nothing else.
 */
export async function takeTurn(
  sampler: Sampler,
  scene: Scene,
  state: TurnState,
  options: TurnOptions,
): Promise<{ readonly state: TurnState; readonly end: TurnEnd | null }> {
  const { config, record } = scene;
  const { zoom } = config;
  const turn = state.turns.length;
  const noTurnLeft = turn === zoom.maxTurns - 1;
  const noImageLeft = record.images.length + state.zooms.length >= zoom.maxImages;
  const atLimit = zoom.enabled && zoom.forceAnswer && turn > 0 && (noTurnLeft || noImageLeft);
  const forced = atLimit || options.force === true;
  const chunks = [...state.chunks];
  const prompts = config.promptsFor(record.kind);
  const spoken = await speak(
    sampler,
    scene,
    chunks,
    {
      turn,
      prefix: forced ? forcedAnswerPrefix(prompts.forcedThink) : null,
      stop: config.answerForm === "whole" ? [] : stopStrings(zoom.enabled),
      isOver: (said) => actionOf(said, config) !== "none",
    },
    options,
  );
  if ("stopReason" in spoken) return { state: { ...state, chunks }, end: spoken };

  const points = [...state.points, ...pointsOf(spoken.parsed, turn, scene.view)];
  const action = actionOf(spoken, config);
  const call = action === "toolCall" ? spoken.parsed.toolCall : null;
  const step =
    call !== null && !noTurnLeft && !noImageLeft
      ? zoomStep(
          call,
          { image: scene.image, view: scene.view, preprocessor: config.preprocessor },
          zoom,
          options.seed,
          turn,
        )
      : null;
  const fault = step === null || step.ok ? null : step.fault;
  const turns = [...state.turns, turnOf(spoken, forced, fault)];
  const next = { chunks, turns, points, zooms: state.zooms };
  if (action === "answer") {
    chunks.push(...endOfAnswer(spoken, config, turn));
    return { state: next, end: answered(spoken, config) };
  }
  if (action === "none") {
    const isCut = spoken.last.stopReason === "length";
    return { state: next, end: ended(isCut ? spoken.cutBy : "noAnswer") };
  }
  if (step === null) return { state: next, end: ended(noTurnLeft ? "turnLimit" : "imageLimit") };
  const hasEnded = spoken.last.tokens.at(-1) === config.chat.endOfTurnId;
  chunks.push(...observationChunks(config, prompts, step, turn, hasEnded));
  const zooms = step.ok ? [...state.zooms, step.zoom] : state.zooms;
  return { state: { ...next, zooms }, end: null };
}

/** What the model said in one go. */
export interface Spoken {
  /** Forced opening included, control tokens left out. */
  readonly text: string;
  readonly parsed: ParsedTurn;
  readonly last: Sample;
  readonly numTokens: number;
  /** What the last sample was cut off by, where it was. */
  readonly cutBy: StopReason;
}

export interface SpeechRules {
  readonly turn: number;
  /** Put in front of what the model says, in its name; null where nothing is. */
  readonly prefix: string | null;
  readonly stop: readonly string[];
  /** Whether a stop string that came ended something; if not, sampling goes on behind it. */
  readonly isOver: (spoken: Spoken) => boolean;
}

/**
 * Samples until the rules say it is over, and adds it to `chunks`. A stop string that closes nothing
 * (a closing tag quoted in a thought) does not end the turn.
 */
export async function speak(
  sampler: Sampler,
  scene: Scene,
  chunks: AuthoredChunk[],
  rules: SpeechRules,
  options: TurnOptions,
): Promise<Spoken | TurnEnd> {
  const { chat, zoom, sampling } = scene.config;
  const { turn, prefix } = rules;
  const { signal, seed } = options;
  const tokens: number[] = [];
  for (let part = 0; ; part++) {
    const leftInTurn = zoom.maxTokensPerTurn - tokens.length;
    const room = roomFor(sampler, scene, chunks, leftInTurn);
    if (room.tokens <= 0) return ended(room.limit);
    if (prefix !== null && part === 0)
      chunks.push({ type: "text", author: "forced", turn, tokens: chat.tokenizer.encode(prefix) });
    signal?.throwIfAborted();
    let sample: Sample;
    try {
      sample = await sampler.sample(
        toChunks(chunks),
        {
          ...sampling,
          maxTokens: room.tokens,
          stop: rules.stop,
          seed: part === 0 ? deriveSeed(seed, turn) : deriveSeed(seed, turn, part),
        },
        signal === undefined ? {} : { signal },
      );
    } catch (error) {
      signal?.throwIfAborted();
      return failed("samplerError", error);
    }
    const fault = faultOf(sample, scene.config);
    if (fault !== null) return { stopReason: "badOutput", answer: null, error: fault };
    const { tokens: sampled, logprobs, inexact, imageHashes } = sample;
    const known = inexact === "text" ? {} : { logprobs };
    const marked = inexact === undefined ? {} : { inexact };
    const seen = imageHashes === undefined ? {} : { imageHashes };
    chunks.push({
      type: "text",
      author: "model",
      turn,
      tokens: sampled,
      ...known,
      ...marked,
      ...seen,
    });
    tokens.push(...sampled);
    const text = (prefix ?? "") + chat.tokenizer.decode(tokens, { skipSpecial: true });
    const toolNames = zoom.mode === "repo" ? null : zoomToolNames;
    const parsed = parseTurn(text, { toolNames });
    const numTokens = tokens.length;
    const spoken = { text, parsed, last: sample, numTokens, cutBy: room.limit };
    if (sample.stopReason !== "stop" || rules.isOver(spoken)) return spoken;
  }
}

/** The points of a turn's thoughts, in the frame of the first image as the model sees it. */
export function pointsOf(parsed: ParsedTurn, turn: number, view: AnswerView): EpisodePoint[] {
  return parsed.points.map((written) => {
    const at = pointToResized(written, view);
    return { ...at, turn, inImage: contains(view.resized, at) };
  });
}

export function turnOf(spoken: Spoken, forced: boolean, fault: EpisodeTurn["fault"]): EpisodeTurn {
  return {
    text: spoken.text,
    numTokens: spoken.numTokens,
    forced,
    wellFormed: spoken.parsed.wellFormed,
    fault,
    weightsVersion: spoken.last.weightsVersion,
  };
}

export function ended(stopReason: StopReason): TurnEnd {
  return { stopReason, answer: null, error: null };
}

export function failed(stopReason: "inputError" | "samplerError", error: unknown): TurnEnd {
  const message = error instanceof Error ? error.message : String(error);
  return { stopReason, answer: null, error: message, cause: error };
}

/** What a turn does: the first closed block decides; one left open counts if the model ended there. */
function actionOf(
  { text, parsed, last }: Spoken,
  { zoom, answerForm }: EpisodeConfig,
): "answer" | "toolCall" | "none" {
  if (answerForm === "whole")
    return last.stopReason === "eos" && text.trim() !== "" ? "answer" : "none";
  const action = parsed.segments.find(
    ({ kind, closed }) =>
      (closed || last.stopReason === "eos") &&
      (kind === "answer" || (kind === "toolCall" && zoom.enabled)),
  );
  return action?.kind === "answer" || action?.kind === "toolCall" ? action.kind : "none";
}

function answered({ text, parsed }: Spoken, { answerForm }: EpisodeConfig): TurnEnd {
  const answer = answerForm === "whole" ? text.trim() : parsed.answer?.text;
  return { stopReason: "answered", answer: answer ?? null, error: null };
}

/** The end of the answering turn, where the model did not write it itself. */
function endOfAnswer({ last }: Spoken, { chat }: EpisodeConfig, turn: number): AuthoredChunk[] {
  if (last.tokens.at(-1) === chat.endOfTurnId) return [];
  return [{ type: "text", author: "environment", turn, tokens: [chat.endOfTurnId] }];
}

/** How many tokens may come next, and which limit says so. */
function roomFor(
  sampler: Sampler,
  { config, promptPositions }: Scene,
  chunks: readonly AuthoredChunk[],
  leftInTurn: number,
): { tokens: number; limit: StopReason } {
  const used = numPositions(toChunks(chunks));
  const inEpisode = config.zoom.maxTotalTokens - (used - promptPositions);
  const inContext = sampler.capabilities.maxPositions - used;
  const tokens = Math.min(leftInTurn, inEpisode, inContext);
  if (tokens === inContext) return { tokens, limit: "contextLimit" };
  return { tokens, limit: tokens === inEpisode ? "tokenLimit" : "turnTokenLimit" };
}

/** Why a sample cannot become part of a trajectory, or null. */
function faultOf({ tokens, logprobs, inexact }: Sample, { chat }: EpisodeConfig): string | null {
  const { tokenizer } = chat;
  if (tokens.length === 0) return "the engine returned no tokens";
  if (inexact !== "text" && logprobs.length !== tokens.length)
    return `the engine returned ${logprobs.length} log-probabilities for ${tokens.length} tokens`;
  const visionIds = new Set(Object.values(tokenizer.vision));
  for (const id of tokens) {
    if (!tokenizer.hasId(id)) return `sampled id ${id}, which has no token`;
    if (visionIds.has(id))
      return `sampled ${tokenizer.decode([id])}, which only an image may bring`;
  }
  return null;
}
