/**
 * One episode: the model thinks, zooms, looks and answers, through any `Sampler`. Episodes are
 * independent async functions, so none waits for another. Whatever a model or an engine does ends in
 * a named stop reason on the record; only an abort is thrown. Single-turn tasks are the same function
 * with the tool switched off.
 * differs from the published rollout: a failed tool call is told to the model and the episode goes
 * on; tokens are kept as sampled, with their author, and never decoded and encoded again.
 */
import { deriveSeed } from "../core/random.ts";
import type { Sample, Sampler } from "../engine/types.ts";
import { numPositions } from "../engine/types.ts";
import { contains } from "../image/frames.ts";
import type { RgbImage } from "../image/decode.ts";
import { forcedAnswerPrefix, parseTurn, stopStrings, type ParsedTurn } from "../text/grammar.ts";
import { zoomToolNames } from "../text/tool-call.ts";
import type { EpisodeConfig } from "./episode-config.ts";
import { observationChunks, promptChunks, viewImages } from "./prompt.ts";
import { loadImages, type TaskRecord } from "./record.ts";
import {
  countTokens,
  toChunks,
  type AnswerView,
  type AuthoredChunk,
  type Episode,
  type EpisodePoint,
  type EpisodeTurn,
  type EpisodeZoom,
  type StopReason,
} from "./trajectory.ts";
import { pointToResized, zoomStep } from "./zoom.ts";

export interface EpisodeOptions {
  readonly signal?: AbortSignal;
}

/**
 * Plays one episode. The same sampler weights, record, config and seed give the same episode,
 * whatever else runs beside it: turn k samples with a seed derived from `seed` and k.
 * @throws the signal's reason when aborted, and nothing else.
 */
export async function runEpisode(
  sampler: Sampler,
  record: TaskRecord,
  config: EpisodeConfig,
  seed: number,
  options: EpisodeOptions = {},
): Promise<Episode> {
  const started = performance.now();
  const play = new Play(sampler, record, config, seed, options.signal);
  let end: End;
  try {
    end = await play.run();
  } finally {
    sampler.release(play.session);
  }
  return play.finish(end, (performance.now() - started) / 1000);
}

interface End {
  readonly stopReason: StopReason;
  readonly answer: string | null;
  readonly error: string | null;
}

/** One assistant turn as it stands after sampling. */
interface Spoken {
  readonly text: string;
  readonly parsed: ParsedTurn;
  readonly last: Sample;
  readonly numTokens: number;
  /** What the last sample was cut off by, where it was. */
  readonly cutBy: StopReason;
}

let numSessions = 0;

class Play {
  readonly session: string;

  private readonly sampler: Sampler;
  private readonly record: TaskRecord;
  private readonly config: EpisodeConfig;
  private readonly seed: number;
  private readonly signal: AbortSignal | undefined;
  private readonly visionIds: ReadonlySet<number | undefined>;
  private readonly chunks: AuthoredChunk[] = [];
  private readonly turns: EpisodeTurn[] = [];
  private readonly points: EpisodePoint[] = [];
  private readonly zooms: EpisodeZoom[] = [];
  private view: AnswerView | null = null;
  private promptPositions = 0;

  constructor(
    sampler: Sampler,
    record: TaskRecord,
    config: EpisodeConfig,
    seed: number,
    signal: AbortSignal | undefined,
  ) {
    this.sampler = sampler;
    this.record = record;
    this.config = config;
    this.seed = seed;
    this.signal = signal;
    const { tokenizer } = config.chat;
    this.visionIds = new Set(VISION_TOKENS.map((name) => tokenizer.findTokenId(name)));
    this.session = `${record.id}#${seed}#${numSessions++}`;
  }

  async run(): Promise<End> {
    this.signal?.throwIfAborted();
    let image: RgbImage;
    let view: AnswerView;
    try {
      const images = await loadImages(this.record);
      const looked = viewImages(this.config, images);
      [image] = images;
      this.view = view = looked.view;
      this.chunks.push(...promptChunks(this.config, this.record, looked.seen));
    } catch (error) {
      return failed("inputError", error);
    }
    this.promptPositions = numPositions(toChunks(this.chunks));
    const { zoom } = this.config;
    for (let turn = 0; ; turn++) {
      const noTurnLeft = turn === zoom.maxTurns - 1;
      const noImageLeft = this.record.images.length + this.zooms.length >= zoom.maxImages;
      const force = zoom.enabled && zoom.forceAnswer && turn > 0 && (noTurnLeft || noImageLeft);
      const spoken = await this.speak(turn, force);
      if ("stopReason" in spoken) return spoken;
      this.keepPoints(spoken.parsed, turn, view);

      const action = this.actionOf(spoken);
      const call = action === "toolCall" ? spoken.parsed.toolCall : null;
      const mayZoom = call !== null && !noTurnLeft && !noImageLeft;
      const step = mayZoom
        ? zoomStep(
            call,
            { image, view, preprocessor: this.config.preprocessor },
            zoom,
            this.seed,
            turn,
          )
        : null;
      this.keepTurn(spoken, force, step === null || step.ok ? null : step.fault);
      if (action === "answer") return this.answered(spoken, turn);
      if (action === "none")
        return ended(spoken.last.stopReason === "length" ? spoken.cutBy : "noAnswer");
      if (step === null) return ended(noTurnLeft ? "turnLimit" : "imageLimit");

      if (step.ok) this.zooms.push(step.zoom);
      const prompts = this.config.promptsFor(this.record.kind);
      const hasEnded = spoken.last.tokens.at(-1) === this.config.chat.endOfTurnId;
      this.chunks.push(...observationChunks(this.config, prompts, step, turn, hasEnded));
    }
  }

  finish(end: End, seconds: number): Episode {
    const { tokenizer } = this.config.chat;
    const response = this.chunks
      .filter((chunk) => chunk.author !== "prompt")
      .flatMap((chunk) => (chunk.type === "text" ? chunk.tokens : []));
    const isAnswered = end.stopReason === "answered";
    return {
      recordId: this.record.id,
      seed: this.seed,
      chunks: this.chunks,
      turns: this.turns,
      points: this.points,
      zooms: this.zooms,
      canZoom: this.config.zoom.enabled,
      response: tokenizer.decode(response, { skipSpecial: true }),
      answer: end.answer,
      forced: this.turns.at(-1)?.forced ?? false,
      wellFormed: isAnswered && this.turns.every((turn) => turn.wellFormed),
      stopReason: end.stopReason,
      error: end.error,
      view: this.view,
      numTokens: countTokens(this.chunks),
      seconds,
    };
  }

  /**
   * Samples one turn. A stop string that closes nothing (a closing tag quoted in a thought) does not
   * end the turn: sampling goes on behind it.
   */
  private async speak(turn: number, force: boolean): Promise<Spoken | End> {
    const { chat, zoom, answerForm } = this.config;
    const stop = answerForm === "whole" ? [] : stopStrings(zoom.enabled);
    let prefix = "";
    let numTokens = 0;
    const tokens: number[] = [];
    for (let part = 0; ; part++) {
      const room = this.room(zoom.maxTokensPerTurn - numTokens);
      if (room.tokens <= 0) return ended(room.limit);
      if (force && part === 0) {
        prefix = forcedAnswerPrefix(this.config.promptsFor(this.record.kind).forcedThink);
        const forced = chat.tokenizer.encode(prefix);
        this.chunks.push({ type: "text", author: "forced", turn, tokens: forced });
      }
      this.signal?.throwIfAborted();
      let sample: Sample;
      try {
        sample = await this.sampler.sample(
          toChunks(this.chunks),
          {
            ...this.config.sampling,
            maxTokens: room.tokens,
            stop,
            seed: part === 0 ? deriveSeed(this.seed, turn) : deriveSeed(this.seed, turn, part),
          },
          { session: this.session, ...(this.signal === undefined ? {} : { signal: this.signal }) },
        );
      } catch (error) {
        this.signal?.throwIfAborted();
        return failed("samplerError", error);
      }
      const fault = this.faultOf(sample);
      if (fault !== null) return { stopReason: "badOutput", answer: null, error: fault };
      this.chunks.push({
        type: "text",
        author: "model",
        turn,
        tokens: sample.tokens,
        logprobs: sample.logprobs,
      });
      tokens.push(...sample.tokens);
      numTokens += sample.tokens.length;
      const text = prefix + chat.tokenizer.decode(tokens, { skipSpecial: true });
      const toolNames = zoom.mode === "repo" ? null : zoomToolNames;
      const parsed = parseTurn(text, { toolNames });
      const spoken = { text, parsed, last: sample, numTokens, cutBy: room.limit };
      if (sample.stopReason !== "stop" || this.actionOf(spoken) !== "none") return spoken;
    }
  }

  /** How many tokens may come next, and which limit says so. */
  private room(leftInTurn: number): { tokens: number; limit: StopReason } {
    const used = numPositions(toChunks(this.chunks));
    const inEpisode = this.config.zoom.maxTotalTokens - (used - this.promptPositions);
    const inContext = this.sampler.capabilities.maxPositions - used;
    const tokens = Math.min(leftInTurn, inEpisode, inContext);
    if (tokens === inContext) return { tokens, limit: "contextLimit" };
    return { tokens, limit: tokens === inEpisode ? "tokenLimit" : "turnTokenLimit" };
  }

  /** What a turn does: the first closed block decides; one left open counts if the model ended there. */
  private actionOf({ text, parsed, last }: Spoken): "answer" | "toolCall" | "none" {
    const { zoom, answerForm } = this.config;
    if (answerForm === "whole")
      return last.stopReason === "eos" && text.trim() !== "" ? "answer" : "none";
    const action = parsed.segments.find(
      ({ kind, closed }) =>
        (closed || last.stopReason === "eos") &&
        (kind === "answer" || (kind === "toolCall" && zoom.enabled)),
    );
    return action?.kind === "answer" || action?.kind === "toolCall" ? action.kind : "none";
  }

  private answered(spoken: Spoken, turn: number): End {
    const { chat, answerForm } = this.config;
    if (spoken.last.tokens.at(-1) !== chat.endOfTurnId)
      this.chunks.push({
        type: "text",
        author: "environment",
        turn,
        tokens: [chat.endOfTurnId],
      });
    const answer = answerForm === "whole" ? spoken.text.trim() : spoken.parsed.answer?.text;
    return { stopReason: "answered", answer: answer ?? null, error: null };
  }

  private keepPoints(parsed: ParsedTurn, turn: number, view: AnswerView): void {
    for (const written of parsed.points) {
      const at = pointToResized(written, view);
      this.points.push({ ...at, turn, inImage: contains(view.resized, at) });
    }
  }

  private keepTurn(spoken: Spoken, forced: boolean, fault: EpisodeTurn["fault"]): void {
    this.turns.push({
      text: spoken.text,
      numTokens: spoken.numTokens,
      forced,
      wellFormed: spoken.parsed.wellFormed,
      fault,
      weightsVersion: spoken.last.weightsVersion,
    });
  }

  /** Why a sample cannot become part of a trajectory, or null. */
  private faultOf({ tokens, logprobs }: Sample): string | null {
    const { tokenizer } = this.config.chat;
    if (tokens.length === 0) return "the engine returned no tokens";
    if (logprobs.length !== tokens.length)
      return `the engine returned ${logprobs.length} log-probabilities for ${tokens.length} tokens`;
    for (const id of tokens) {
      if (!tokenizer.hasId(id)) return `sampled id ${id}, which has no token`;
      if (this.visionIds.has(id))
        return `sampled ${tokenizer.decode([id])}, which only an image may bring`;
    }
    return null;
  }
}

const VISION_TOKENS = ["<|image_pad|>", "<|video_pad|>", "<|vision_start|>", "<|vision_end|>"];

function ended(stopReason: StopReason): End {
  return { stopReason, answer: null, error: null };
}

function failed(stopReason: "inputError" | "samplerError", error: unknown): End {
  return {
    stopReason,
    answer: null,
    error: error instanceof Error ? error.message : String(error),
  };
}
