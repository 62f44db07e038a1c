/**
 * What one step is. "turn": a turn of an episode, whose tool's answer the next step sees. "thought": one think
 * block; the next one continues the same message. "packed", as published: one reply to a prompt that
 * tells the question and all thoughts before it. All of them end with an answer.
 * differs in "packed": generation stops behind the first closing tag, so that a reply is one step.
 */
import { VigorlError } from "../core/errors.ts";
import { stream } from "../core/random.ts";
import type { Sampler } from "../engine/types.ts";
import { forcedAnswerPrefix, parseTurn, stopStrings } from "../text/grammar.ts";
import { scanPoints } from "../text/points.ts";
import { pythonStrip } from "../text/python.ts";
import { promptSet } from "../text/prompts.ts";
import { defaultTags } from "../text/tags.ts";
import type { EpisodeConfig } from "../task/episode-config.ts";
import { kindOf } from "../task/kinds.ts";
import { authored, openedTurn, promptMessages } from "../task/prompt.ts";
import type { TaskRecord } from "../task/record.ts";
import { pictureLine, type RecordPlace } from "../task/pictures.ts";
import { pointToResized } from "../task/tools/place-args.ts";
import type { AuthoredChunk, EpisodePoint } from "../task/trajectory.ts";
import {
  ended,
  firstState,
  openScene,
  pointsOf,
  speak,
  takeTurn,
  type Scene,
  type Spoken,
  type TurnEnd,
  type TurnOptions,
  type TurnState,
} from "../task/turn.ts";
import type { SearchRules } from "./search-config.ts";
import type { StepLine } from "./tree-line.ts";

/** A state to step from: the conversation so far, and the thoughts where they are told anew. */
export interface StepState {
  readonly turns: TurnState;
  readonly thoughts: readonly string[];
}

/** A step, and the state behind it: null where the path ends there, with `end` as the reason. */
export interface Stepped {
  readonly step: StepLine;
  readonly state: StepState | null;
  readonly end: string;
}

export interface Stepper {
  readonly scene: Scene;
  readonly first: StepState;
  /** @throws what the sampler threw, or the signal's reason. */
  take(sampler: Sampler, state: StepState, options: TurnOptions): Promise<Stepped>;
}

/**
 * Opens a record for search.
 * @throws VigorlError("input") when an image of it is missing or broken.
 */
export async function openStepper(
  record: TaskRecord,
  episode: EpisodeConfig,
  rules: SearchRules,
  seed: number,
): Promise<Stepper> {
  const config = searchEpisode(record, episode, rules, seed);
  const keeper = config.tools.find((tool) => tool.open !== undefined);
  if (keeper !== undefined) {
    throw new VigorlError("usage", `search: ${keeper.key} keeps something between its calls`, {
      hint: "branches of a tree cannot share that; leave it out of tools, or set search.steps to thought",
    });
  }
  const scene = await openScene(record, config);
  const first = { turns: firstState(scene), thoughts: [] };
  const take = { turn: wholeTurn, thought: nextThought, packed: packedReply }[rules.steps];
  return {
    scene,
    first,
    take: (sampler, state, options) => take(sampler, scene, state, options, rules),
  };
}

/** The episode's settings with what the search replaces: sampling, lengths, and its system prompt. */
export function searchEpisode(
  record: TaskRecord,
  episode: EpisodeConfig,
  rules: SearchRules,
  seed: number,
): EpisodeConfig {
  const { temperature, topP, topK, maxTokensPerStep, steps } = rules;
  return {
    ...episode,
    tools: steps === "turn" ? episode.tools : [],
    limits: { ...episode.limits, maxTokensPerTurn: maxTokensPerStep },
    sampling: { temperature, topP, topK },
    promptsFor: (kind) => {
      const prompts = episode.promptsFor(kind);
      if (steps === "turn") return prompts;
      return { ...prompts, system: systemPrompt(prompts.system, episode, record, rules, seed) };
    },
  };
}

function toPlace({ picture, x, y }: EpisodePoint): RecordPlace {
  return { picture, x, y };
}

type Take = (
  sampler: Sampler,
  scene: Scene,
  state: StepState,
  options: TurnOptions,
  rules: SearchRules,
) => Promise<Stepped>;

const wholeTurn: Take = async (sampler, scene, { turns, thoughts }, options) => {
  const taken = await takeTurn(sampler, scene, turns, options);
  const { state, end } = taken;
  throwCause(end);
  const turn = state.turns[turns.turns.length];
  if (turn === undefined) return unsaid(end);
  const toolUse = state.toolUses[turns.toolUses.length] ?? null;
  const picture = state.pictures[turns.pictures.length];
  const step: StepLine = {
    text: turn.text,
    think: parseTurn(turn.text, scene.config.dialect).thinks.join("\n"),
    points: state.points.slice(turns.points.length).map(toPlace),
    toolUse,
    picture: picture === undefined ? null : pictureLine(picture),
    answer: end?.answer ?? null,
    forced: turn.forced,
    numTokens: turn.numTokens,
  };
  return end === null
    ? { step, state: { turns: state, thoughts }, end: "step" }
    : { step, state: null, end: end.stopReason };
};

const nextThought: Take = async (sampler, scene, { turns, thoughts }, options) => {
  const { config, record } = scene;
  const forcedThink = thoughts.length > 0 ? "" : config.promptsFor(record.kind).forcedThink;
  const gap = thoughts.length > 0 ? "\n" : "";
  const prefix = options.force === true ? `${gap}${forcedAnswerPrefix(forcedThink)}` : null;
  const chunks = [...turns.chunks];
  const spoken = await speak(sampler, scene, chunks, stepRules(prefix), options);
  if ("stopReason" in spoken) {
    throwCause(spoken);
    return unsaid(spoken);
  }
  const { thinks, answer } = spoken.parsed;
  const step: StepLine = {
    text: spoken.text,
    think: thinks.join("\n"),
    points: pointsOf(spoken.parsed, 0, scene.view).map(toPlace),
    toolUse: null,
    picture: null,
    answer: saysAnswer(spoken) ? (answer?.text ?? null) : null,
    forced: prefix !== null,
    numTokens: spoken.numTokens,
  };
  if (step.answer !== null) return { step, state: null, end: "answered" };
  if (!isThought(spoken)) return { step, state: null, end: cutOrSilent(spoken) };
  const next = { turns: { ...turns, chunks }, thoughts: [...thoughts, step.think] };
  return { step, state: next, end: "step" };
};

const packedReply: Take = async (sampler, scene, { turns, thoughts }, options, rules) => {
  const chunks = packedPrompt(scene, thoughts, options.force === true, rules);
  const spoken = await speak(sampler, scene, chunks, stepRules(null, rules.keepEmpty), options);
  if ("stopReason" in spoken) {
    throwCause(spoken);
    return unsaid(spoken);
  }
  const answer = spoken.parsed.answer?.text.replace(/^[A-Z]\. /, "") ?? null;
  const think = withoutTags(answer === null ? spoken.text : spoken.parsed.thinks.join("\n"));
  const step: StepLine = {
    text: spoken.text,
    think,
    points: scanPoints(think).map((written) => {
      const { x, y } = pointToResized(written, scene.view);
      return { picture: 0, x, y };
    }),
    toolUse: null,
    picture: null,
    answer,
    forced: options.force === true,
    numTokens: spoken.numTokens,
  };
  if (answer !== null) return { step, state: null, end: "answered" };
  if (think === "" && !rules.keepEmpty) return { step, state: null, end: cutOrSilent(spoken) };
  return { step, state: { turns, thoughts: [...thoughts, think] }, end: "step" };
};

/** The published packing: question and thoughts in one user message, the request to end in another. */
function packedPrompt(
  { config, record, pictures }: Scene,
  thoughts: readonly string[],
  finish: boolean,
  { prompts }: SearchRules,
): AuthoredChunk[] {
  const told = thoughts.map((text, i) =>
    prompts.previousThought.replaceAll("{i}", String(i + 1)).replaceAll("{text}", () => text),
  );
  const question = [record.question, ...told].join("\n\n");
  const messages = promptMessages({ ...record, question }, config.promptsFor(record.kind));
  if (finish) messages.push({ role: "user", content: prompts.finish });
  const pieces = config.chat.encodePrompt(messages, { addGenerationPrompt: true });
  return openedTurn(config.chat, authored(pieces, pictures, "prompt", 0), 0);
}

/** The recipe's wording wins; a model that gets no system prompt at all gets none here either. */
function systemPrompt(
  usual: string | null,
  { dialect, coordinates }: EpisodeConfig,
  record: TaskRecord,
  { prompts, steps }: SearchRules,
  seed: number,
): string | null {
  const ours =
    usual === null
      ? null
      : promptSet(prompts.grounded ? "steps" : "textSteps", kindOf(record.kind).words, {
          dialect,
          coordinates,
        }).system;
  const system = prompts.system === undefined ? ours : prompts.system;
  if (steps !== "packed" || prompts.minThoughts === null) return system;
  const [least, most] = prompts.minThoughts;
  const wanted = stream(seed, "minThoughts", record.id).int(least, most);
  const request = prompts.minThoughtsText.replaceAll("{n}", String(wanted));
  return system === null ? request : `${system}\n${request}`;
}

const STEP_STOPS = [defaultTags.think.close, ...stopStrings(false)];

function stepRules(prefix: string | null, keepEmpty = false) {
  return {
    turn: 0,
    prefix,
    stop: STEP_STOPS,
    isOver: (spoken: Spoken) => isThought(spoken, keepEmpty) || saysAnswer(spoken),
  };
}

function isThought({ parsed }: Spoken, mayBeEmpty = false): boolean {
  return parsed.segments.some(
    ({ kind, closed, text }) => kind === "think" && closed && (mayBeEmpty || text.trim() !== ""),
  );
}

function saysAnswer({ parsed, last }: Spoken): boolean {
  return parsed.answer !== null && (parsed.answer.closed || last.stopReason === "eos");
}

function cutOrSilent({ last, cutBy }: Spoken): string {
  return last.stopReason === "length" ? cutBy : "noAnswer";
}

/** What the engine threw is for the caller to handle: the tree cannot grow without it. */
function throwCause(end: TurnEnd | null): void {
  if (end?.stopReason === "samplerError" || end?.stopReason === "toolError") throw end.cause;
}

/** A step in which nothing could be said. */
function unsaid(end: TurnEnd | null): Stepped {
  const { stopReason } = end ?? ended("noAnswer");
  const step: StepLine = {
    text: "",
    think: "",
    points: [],
    toolUse: null,
    picture: null,
    answer: null,
    forced: false,
    numTokens: 0,
  };
  return { step, state: null, end: stopReason };
}

function withoutTags(text: string): string {
  const { think, answer } = defaultTags;
  const tags = [think.open, think.close, answer.open, answer.close];
  return pythonStrip(tags.reduce((rest, tag) => rest.replaceAll(tag, ""), text));
}
