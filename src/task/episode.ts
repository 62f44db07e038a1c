/**
 * One episode: the model thinks, calls tools, looks and answers, through any `Sampler`. Episodes are
 * independent async functions, so none waits for another. Whatever a model or an engine does ends in
 * a named stop reason on the record; only an abort is thrown. Single-turn tasks are the same function
 * without tools. A single turn is in `turn.ts`.
 * differs from the published rollout: a failed tool call is told to the model and the episode goes
 * on; tokens are kept as sampled, with their author, and never decoded and encoded again.
 */
import { scoredTemperature, type Sampler } from "../engine/types.ts";
import type { EpisodeConfig } from "./episode-config.ts";
import { pictureLine } from "./pictures.ts";
import type { TaskRecord } from "./record.ts";
import { ToolSessions } from "./tools/sessions.ts";
import { countTokens, type Trajectory } from "./trajectory.ts";
import {
  failed,
  firstState,
  openScene,
  requireRoom,
  takeTurn,
  type Scene,
  type TurnEnd,
  type TurnOptions,
  type TurnState,
} from "./turn.ts";

export interface EpisodeOptions {
  /** Names the episode in messages. Default: the record's id. */
  readonly id?: string;
  readonly signal?: AbortSignal;
  /** The record's images, where somebody has read them already. */
  readonly scene?: Scene;
  /** Told what has been said and shown, after each turn. */
  readonly onTurn?: (state: TurnState) => void;
}

/**
 * Plays one episode. The same sampler weights, record, config and seed give the same episode,
 * whatever else runs beside it: turn k samples with a seed derived from `seed` and k.
 * @throws the signal's reason when aborted, and what a judge or a tool of the user's own throws.
 */
export async function runEpisode(
  sampler: Sampler,
  record: TaskRecord,
  config: EpisodeConfig,
  seed: number,
  options: EpisodeOptions = {},
): Promise<Trajectory> {
  const started = performance.now();
  const { signal, id = record.id } = options;
  const turnOptions = { seed, ...(signal === undefined ? {} : { signal }) };
  const played = await play(sampler, record, config, turnOptions, options);
  const { answer, view } = played;
  const judged =
    config.judge === undefined ? {} : { judged: await config.judge(answer, record, { view }) };
  return { ...played, ...judged, id, seconds: (performance.now() - started) / 1000 };
}

async function play(
  sampler: Sampler,
  record: TaskRecord,
  config: EpisodeConfig,
  options: TurnOptions,
  { scene: given, onTurn }: EpisodeOptions,
): Promise<Omit<Trajectory, "id" | "seconds">> {
  options.signal?.throwIfAborted();
  const about = {
    recordId: record.id,
    task: record.task ?? "",
    category: record.category ?? "",
    seed: options.seed,
    temperature: scoredTemperature(config.sampling.temperature),
  };
  let scene: Scene;
  try {
    scene = given ?? (await openScene(record, config));
    requireRoom(scene, sampler);
  } catch (error) {
    return { ...about, ...summary(config, null, NOTHING, failed("inputError", error)) };
  }
  const sessions = new ToolSessions();
  let over: { readonly state: TurnState; readonly end: TurnEnd };
  try {
    over = await playTurns(sampler, scene, { ...options, sessions }, onTurn);
  } catch (error) {
    // What ended the episode is told, and not what went wrong while it was cleared away.
    await sessions.close().catch(() => undefined);
    throw error;
  }
  try {
    await sessions.close();
  } catch (error) {
    over = { ...over, end: failed("toolError", error) };
  }
  return { ...about, ...summary(config, scene, over.state, over.end) };
}

async function playTurns(
  sampler: Sampler,
  scene: Scene,
  options: TurnOptions,
  onTurn: EpisodeOptions["onTurn"],
): Promise<{ readonly state: TurnState; readonly end: TurnEnd }> {
  for (let state = firstState(scene); ;) {
    const { state: next, end } = await takeTurn(sampler, scene, state, options);
    onTurn?.(next);
    if (end !== null) return { state: next, end };
    state = next;
  }
}

const NOTHING: TurnState = { chunks: [], turns: [], points: [], pictures: [], toolUses: [] };

function summary(
  config: EpisodeConfig,
  scene: Scene | null,
  { chunks, turns, points, pictures, toolUses }: TurnState,
  { stopReason, answer, error }: TurnEnd,
): Omit<Trajectory, "id" | "task" | "category" | "recordId" | "seed" | "temperature" | "seconds"> {
  const response = chunks
    .filter((chunk) => chunk.author !== "prompt")
    .flatMap((chunk) => (chunk.type === "text" ? chunk.tokens : []));
  return {
    chunks,
    turns,
    points,
    pictures: pictures.map(pictureLine),
    toolUses,
    tools: config.tools.map(({ key }) => key),
    response: config.chat.tokenizer.decode(response, { skipSpecial: true }),
    answer,
    forced: turns.at(-1)?.forced ?? false,
    wellFormed: stopReason === "answered" && turns.every((turn) => turn.wellFormed),
    stopReason,
    error,
    view: scene?.view ?? null,
    numTokens: countTokens(chunks),
  };
}
