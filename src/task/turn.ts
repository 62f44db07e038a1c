/**
 * One assistant turn as a step from state to state: the model speaks, and a tool answers its call.
 * Episodes take one turn after the other; search branches from any state. States are never changed,
 * so that branches share what came before them.
 */
import { VigorlError } from "../core/errors.ts";
import { deriveSeed } from "../core/random.ts";
import { ReplyFault } from "../engine/reply-fault.ts";
import type { Sample, Sampler } from "../engine/types.ts";
import { numPositions } from "../engine/types.ts";
import { contains } from "../image/frames.ts";
import { forcedAnswerPrefix, parseTurn, stopStrings, type ParsedTurn } from "../text/grammar.ts";
import type { EpisodeConfig } from "./episode-config.ts";
import { recordPictures, type Picture } from "./pictures.ts";
import { answerView, observationChunks, promptChunks } from "./prompt.ts";
import { loadImages, type TaskRecord } from "./record.ts";
import { pointToResized } from "./tools/place-args.ts";
import type { ToolUse } from "./tools/tool.ts";
import type { ToolSessions } from "./tools/sessions.ts";
import { checkCall, useTool, type Used } from "./tools/use-tool.ts";
import {
  otherUsage,
  toChunks,
  type AnswerView,
  type AuthoredChunk,
  type EpisodePoint,
  type EpisodeTurn,
  type StopReason,
} from "./trajectory.ts";

/** A record with its images loaded, before anybody has spoken. */
export interface Scene {
  readonly record: TaskRecord;
  readonly config: EpisodeConfig;
  /** The images of the record. */
  readonly pictures: readonly Picture[];
  readonly view: AnswerView;
  readonly prompt: readonly AuthoredChunk[];
  readonly promptPositions: number;
}

/** What was said and shown so far, the prompt included. */
export interface TurnState {
  readonly chunks: readonly AuthoredChunk[];
  readonly turns: readonly EpisodeTurn[];
  readonly points: readonly EpisodePoint[];
  /** The record's, then what tools returned. */
  readonly pictures: readonly Picture[];
  readonly toolUses: readonly ToolUse[];
}

/** How a conversation ended. */
export interface TurnEnd {
  readonly stopReason: StopReason;
  readonly answer: string | null;
  readonly error: string | null;
  /** What was thrown, for "samplerError", "toolError" and "inputError". */
  readonly cause?: unknown;
}

export interface TurnOptions {
  /** Turn k draws from a seed derived from this one and k. */
  readonly seed: number;
  readonly signal?: AbortSignal;
  /** Of the episode, for tools that keep something between its turns. */
  readonly sessions?: ToolSessions;
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

/** A record's prompt as text, `<image>` for each picture; null where its images cannot be loaded. */
export async function promptText(
  record: TaskRecord,
  config: EpisodeConfig,
): Promise<string | null> {
  const scene = await openScene(record, config).catch((error: unknown) => {
    if (error instanceof VigorlError) return null;
    throw error;
  });
  if (scene === null) return null;
  return scene.prompt
    .map((chunk) =>
      chunk.type === "text" ? config.chat.tokenizer.decode([...chunk.tokens]) : "<image>",
    )
    .join("");
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
  const { budget, preprocessor } = config;
  return sceneOf(record, config, recordPictures(await loadImages(record), budget, preprocessor));
}

/** The scene of a record whose images are pictures already. */
export function sceneOf(
  record: TaskRecord,
  config: EpisodeConfig,
  pictures: readonly Picture[],
): Scene {
  const view = answerView(config, pictures[0]);
  const prompt = promptChunks(config, record, pictures);
  const promptPositions = numPositions(toChunks(prompt));
  return { record, config, pictures, view, prompt, promptPositions };
}

/**
 * Checks that an engine can answer at all.
 * @throws VigorlError("input") with the size of the prompt, the limit, and the keys that change it.
 */
export function requireRoom({ record, prompt, promptPositions }: Scene, sampler: Sampler): void {
  const { maxPositions, name } = sampler.capabilities;
  if (promptPositions < maxPositions) return;
  const inImages = toChunks(prompt).reduce(
    (sum, chunk) => sum + (chunk.type === "image" ? chunk.image.numTokens : 0),
    0,
  );
  const size = `${promptPositions.toLocaleString("en")} positions, ${inImages.toLocaleString("en")} of them images`;
  // One text, because a trace and a report keep no hint.
  throw new VigorlError(
    "input",
    `${record.id}: the prompt takes ${size}; ${name} has ${maxPositions.toLocaleString("en")} for prompt and answer: raise engine.maxPositions, or lower image.maxPixels`,
  );
}

/** The state in which the first turn is taken. */
export function firstState({ prompt, pictures }: Scene): TurnState {
  return { chunks: prompt, turns: [], points: [], pictures, toolUses: [] };
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
  const { limits, dialect } = config;
  const turn = state.turns.length;
  const noTurnLeft = turn === limits.maxTurns - 1;
  const noImageLeft = state.pictures.length - scene.pictures.length >= limits.maxToolImages;
  const noUseLeft = noTurnLeft || (noImageLeft && config.tools.every((tool) => tool.givesPicture));
  const atLimit = config.tools.length > 0 && limits.forceAnswer && turn > 0 && noUseLeft;
  const forced = atLimit || options.force === true;
  const chunks = [...state.chunks];
  const prompts = config.promptsFor(record.kind);
  const spoken = await speak(
    sampler,
    scene,
    chunks,
    {
      turn,
      prefix: forced ? forcedAnswerPrefix(prompts.forcedThink, dialect) : null,
      stop: config.answerForm === "whole" ? [] : stopStrings(config.tools.length > 0, dialect),
      isOver: (said) => actionOf(said, config) !== "none",
    },
    options,
  );
  if ("stopReason" in spoken) return { state: { ...state, chunks }, end: spoken };

  const points = [...state.points, ...pointsOf(spoken.parsed, turn, scene.view)];
  const turns = [...state.turns, turnOf(spoken, forced, config)];
  const next = { ...state, chunks, turns, points };
  const action = actionOf(spoken, config);
  if (action === "answer") {
    chunks.push(...endOfAnswer(spoken, config, turn));
    return { state: next, end: answered(spoken, config) };
  }
  const call = action === "toolCall" ? spoken.parsed.toolCall : null;
  if (call === null) {
    const isCut = spoken.last.stopReason === "length";
    return { state: next, end: ended(isCut ? spoken.cutBy : "noAnswer") };
  }
  if (noTurnLeft) return { state: next, end: ended("turnLimit") };
  const called = checkCall(call, config);
  if (noImageLeft && (!called.ok || called.tool.givesPicture))
    return { state: next, end: ended("imageLimit") };
  const key = { seed: options.seed, turn };
  const { sessions, signal } = options;
  let used: Used;
  try {
    used = await useTool(call, config, prompts, state.pictures, key, {
      ...(sessions === undefined ? {} : { sessions }),
      ...(signal === undefined ? {} : { signal }),
    });
  } catch (error) {
    signal?.throwIfAborted();
    return { state: next, end: failed("toolError", error) };
  }
  const { use, picture } = used;
  const hasEnded = spoken.last.tokens.at(-1) === config.chat.endOfTurnId;
  chunks.push(...observationChunks(config, use, picture, hasEnded));
  const pictures = picture === null ? state.pictures : [...state.pictures, picture];
  const toolUses = [...state.toolUses, use];
  return { state: { ...next, pictures, toolUses }, end: use.ends ? ended("toolEnd") : null };
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
 * (a closing tag quoted in a thought, or in a string of a call) does not end the turn.
 */
export async function speak(
  sampler: Sampler,
  scene: Scene,
  chunks: AuthoredChunk[],
  rules: SpeechRules,
  options: TurnOptions,
): Promise<Spoken | TurnEnd> {
  const { chat, limits, sampling, dialect } = scene.config;
  const { turn, prefix } = rules;
  const { signal, seed } = options;
  const tokens: number[] = [];
  const before = openingOf(chunks);
  // What is put in the model's name opens its thought itself.
  if (prefix !== null && before !== null) chunks.pop();
  const said = prefix ?? (before === null ? "" : chat.tokenizer.decode(before.tokens));
  for (let part = 0; ; part++) {
    const leftInTurn = limits.maxTokensPerTurn - tokens.length;
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
      return failed(error instanceof ReplyFault ? "badOutput" : "samplerError", error);
    }
    const fault = faultOf(sample, scene.config);
    if (fault !== null) return { stopReason: "badOutput", answer: null, error: fault };
    const { tokens: sampled, logprobs, inexact, imageHashes, usage } = sample;
    const known = inexact === "text" ? {} : { logprobs };
    const marked = inexact === undefined ? {} : { inexact };
    const seen = imageHashes === undefined ? {} : { imageHashes };
    const here = { prompt: numPositions(toChunks(chunks)), generated: sampled.length };
    chunks.push({
      type: "text",
      author: "model",
      turn,
      tokens: sampled,
      ...known,
      ...marked,
      ...seen,
      ...otherUsage(usage, here),
    });
    for (const token of sampled) tokens.push(token);
    const text = said + chat.tokenizer.decode(tokens, { skipSpecial: true });
    const parsed = parseTurn(text, dialect);
    const numTokens = tokens.length;
    const spoken = { text, parsed, last: sample, numTokens, cutBy: room.limit };
    if (sample.stopReason !== "stop" || (!parsed.isOpen && rules.isOver(spoken))) return spoken;
  }
}

/** The thought that the template opened for the model, where the conversation ends with one. */
function openingOf(
  chunks: readonly AuthoredChunk[],
): { readonly tokens: readonly number[] } | null {
  const last = chunks.at(-1);
  return last?.type === "text" && last.author === "forced" ? last : null;
}

/** The points of a turn's thoughts, in the frame of the first picture as the model sees it. */
export function pointsOf(parsed: ParsedTurn, turn: number, view: AnswerView): EpisodePoint[] {
  return parsed.points.map((written) => {
    const at = pointToResized(written, view);
    return { ...at, picture: 0, turn, inImage: contains(view.resized, at) };
  });
}

/** A turn as it is recorded; one with a call is well formed only where the call reaches a tool. */
function turnOf(spoken: Spoken, forced: boolean, config: EpisodeConfig): EpisodeTurn {
  const { parsed, text, numTokens, last } = spoken;
  const isCall = parsed.segments.some(({ kind }) => kind === "toolCall");
  const reaches = parsed.toolCall !== null && checkCall(parsed.toolCall, config).ok;
  const wellFormed = parsed.wellFormed && (!isCall || reaches);
  return { text, numTokens, forced, wellFormed, weightsVersion: last.weightsVersion };
}

export function ended(stopReason: StopReason): TurnEnd {
  return { stopReason, answer: null, error: null };
}

export function failed(
  stopReason: "inputError" | "samplerError" | "toolError" | "badOutput",
  error: unknown,
): TurnEnd {
  const message = error instanceof Error ? error.message : String(error);
  return { stopReason, answer: null, error: message, cause: error };
}

/** What a turn does: the first closed block decides; one left open counts if the model ended there. */
function actionOf(
  { text, parsed, last }: Spoken,
  { tools, answerForm }: EpisodeConfig,
): "answer" | "toolCall" | "none" {
  if (answerForm === "whole")
    return last.stopReason === "eos" && text.trim() !== "" ? "answer" : "none";
  const action = parsed.segments.find(
    ({ kind, closed }) =>
      (closed || last.stopReason === "eos") &&
      (kind === "answer" || (kind === "toolCall" && tools.length > 0)),
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
  const inEpisode = config.limits.maxTotalTokens - (used - promptPositions);
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
