/**
 * Continuous batching. A request waits until a slot of the cache is idle, takes over what any slot
 * holds of its prompt, prefills the rest and decodes side by side with all others; the next waiting
 * request gets a finished one's place at once. What a finished request leaves in its slot serves whoever
 * comes with the same beginning: members of a group, the next turn, the child of a search node.
 *
 * Law, on a CPU: the tokens and log-probabilities of a request are the same bits whatever else is in
 * flight, is cached, or was evicted. A position's keys and values depend on the tokens up to it alone;
 * where the operators do not promise that, prompts are cut into pieces by their content and only whole
 * pieces are shared (`Decoder.pieceLength`).
 */
import { VigorlError } from "../../core/errors.ts";
import { planBatch, sequencePositions } from "../../model/batch.ts";
import type { DecodeRow } from "../../model/cache-attention.ts";
import { DRAW_COLUMNS, MAX_STEPS } from "../../model/decode-tapes.ts";
import type { Decoder } from "../../model/decoder.ts";
import type { ModelConfig } from "../../model/config.ts";
import { cat, type Tensor } from "../../torch/ops.ts";
import { scope } from "../../torch/scope.ts";
import type { Chunk, Sample, SampleParams } from "../types.ts";
import { drawTokens, writeDraw, type Drawn, type DrawRequest } from "./draw.ts";
import type { FeatureCache } from "./feature-cache.ts";
import { pixelHashes } from "./pixel-hashes.ts";
import { PrefixCache, type Slot } from "./prefix-cache.ts";
import { commonPrefix, contentKey, Prompt, type Piece } from "./sequence.ts";
import { SMALL_HIDDEN_SIZE } from "./sizes.ts";
import { StopMatcher, type TokenBytes } from "./stop.ts";

/** Positions of prompts that are prefilled in one pass. */
const MAX_PASS_POSITIONS = 8192;
/** New positions of another prompt that are worth waiting for. */
const WORTH_SHARING = 16;

export interface SchedulerModel {
  readonly config: ModelConfig;
  readonly decoder: Decoder;
  readonly features: FeatureCache;
  /** Ids that end a sample. */
  readonly eosIds: ReadonlySet<number>;
  /** Absent where the folder has no tokenizer; stop strings are refused then. */
  readonly tokenBytes: TokenBytes | undefined;
}

export interface SampleTask {
  readonly id: number;
  readonly prompt: readonly Chunk[];
  readonly params: SampleParams;
  /** Report each token as it is drawn, too. */
  readonly tellsTokens: boolean;
}

export interface SchedulerEvents {
  token(id: number, token: number, logprob: number): void;
  sampled(id: number, sample: Sample): void;
  failed(id: number, error: unknown): void;
}

/** A request on its way: waiting while it has no slot. */
interface Run {
  readonly task: SampleTask;
  readonly prompt: Prompt;
  readonly stop: StopMatcher;
  /** A stop string has come. */
  stopped: boolean;
  readonly tokens: number[];
  readonly logprobs: number[];
  slot: Slot | null;
  /** M-RoPE position of the newest token. */
  rope: number;
  /** Places where its prompt may be cut, and whose states are worth keeping. */
  readonly keepAt: Set<number>;
}

/** Counters since the start. */
export interface SchedulerCounts {
  prefills: number;
  prefillPositions: number;
  cachedPositions: number;
  decodeSteps: number;
  sampledTokens: number;
  evictions: number;
  prefillSeconds: number;
  decodeSeconds: number;
}

export class Scheduler {
  weightsVersion = 0;
  private readonly model: SchedulerModel;
  private readonly events: SchedulerEvents;
  private readonly cache: PrefixCache;
  /** Decode steps of one round, at most. */
  private readonly maxSteps: number;
  private readonly counted: Omit<SchedulerCounts, "evictions"> = {
    prefills: 0,
    prefillPositions: 0,
    cachedPositions: 0,
    decodeSteps: 0,
    sampledTokens: 0,
    prefillSeconds: 0,
    decodeSeconds: 0,
  };
  private waiting: Run[] = [];
  private decoding: Run[] = [];

  constructor(model: SchedulerModel, events: SchedulerEvents) {
    this.model = model;
    this.events = events;
    const { cache, pieceLength, states } = model.decoder;
    this.cache = new PrefixCache(cache.numSlots, pieceLength === null, states?.numKept);
    this.maxSteps = model.config.text.hiddenSize <= SMALL_HIDDEN_SIZE ? MAX_STEPS : 1;
  }

  /** Nothing is waiting or running. */
  get idle(): boolean {
    return this.waiting.length + this.decoding.length === 0;
  }

  get counts(): SchedulerCounts {
    return { ...this.counted, evictions: this.cache.evictions };
  }

  submit(task: SampleTask): void {
    try {
      this.waiting.push(this.newRun(task));
    } catch (error) {
      this.events.failed(task.id, error);
    }
  }

  /** Forgets a request wherever it is; nothing is reported for it. */
  abort(id: number): void {
    for (const list of [this.waiting, this.decoding]) {
      const at = list.findIndex((run) => run.task.id === id);
      if (at >= 0) this.leave(list.splice(at, 1)[0]);
    }
  }

  abortAll(): void {
    for (const list of [this.waiting, this.decoding])
      for (const run of list.splice(0)) this.leave(run);
  }

  /** Drops everything that old weights computed. Only while idle. */
  weightsChanged(version: number): void {
    this.weightsVersion = version;
    this.cache.clear();
    this.model.decoder.refresh();
  }

  /** One round: prompts of requests that there is a place for, then decoding for all. */
  step(): void {
    this.fill();
    if (this.decoding.length > 0) this.decode();
  }

  private newRun(task: SampleTask): Run {
    const { decoder, tokenBytes } = this.model;
    const { params } = task;
    const prompt = new Prompt(task.prompt, decoder.pieceLength);
    if (prompt.length === 0) throw new VigorlError("input", "sample: the prompt is empty");
    decoder.cache.checkRoom(prompt.length);
    if (params.maxTokens < 1)
      throw new VigorlError("input", `sample: maxTokens must be ≥ 1 (got ${params.maxTokens})`);
    if (params.stop.length > 0 && tokenBytes === undefined)
      throw new VigorlError("input", "sample: stop strings need a tokenizer in the model folder");
    const stop = new StopMatcher(params.stop, tokenBytes ?? (() => ""));
    return {
      task,
      prompt,
      stop,
      stopped: false,
      tokens: [],
      logprobs: [],
      slot: null,
      rope: 0,
      keepAt: new Set(),
    };
  }

  /** Gives places to waiting requests, in order, and samples their first tokens. */
  private fill(): void {
    if (this.waiting.length === 0) return;
    this.makeSlots();
    const numFree = this.model.decoder.numRows - this.decoding.length;
    const places = this.roomFor(Math.min(this.waiting.length, this.cache.numIdle, numFree));
    if (places === 0) return;
    const start = performance.now();
    const groups = new Map<string, Run[]>();
    for (const run of this.waiting.splice(0, places)) {
      const key = contentKey(run.task.prompt);
      groups.set(key, [...(groups.get(key) ?? []), run]);
    }
    for (const some of this.passes([...groups.values()])) this.beginTogether(some);
    this.counted.prefillSeconds += (performance.now() - start) / 1000;
  }

  /**
   * How many of the first `places` that wait there is room for, in order. A cache of rows has fewer slots
   * the longer its sequences may become; it is made as large as these need before they begin.
   */
  private roomFor(places: number): number {
    const { cache } = this.model.decoder;
    if (cache.form !== "rows") return places;
    const { numInUse } = this.cache;
    let longest = 0;
    let count = 0;
    for (const run of this.waiting.slice(0, places)) {
      const length = Math.max(longest, this.needOf(run));
      const open = cache.openWith(length);
      if (open < numInUse || open < this.decoding.length + count + 1) break;
      longest = length;
      count++;
    }
    cache.checkRoom(longest);
    this.cache.open(cache.numOpen);
    return count;
  }

  /** Positions that a run may come to hold. */
  private needOf({ prompt, task }: Run): number {
    const { maxPositions } = this.model.decoder.cache;
    return Math.min(prompt.length + task.params.maxTokens, maxPositions);
  }

  /** Where long sequences have left few slots and shorter ones wait, the cache begins anew for these. */
  private makeSlots(): void {
    const { cache } = this.model.decoder;
    const wanted = Math.min(this.waiting.length, this.model.decoder.numRows);
    if (this.decoding.length > 0 || cache.numOpen >= Math.min(wanted, cache.numSlots)) return;
    const longest = Math.max(...this.waiting.map((run) => this.needOf(run)));
    if (cache.openAnew(longest) <= cache.numOpen) return;
    this.cache.clear();
    cache.restart(longest);
    this.cache.open(cache.numOpen);
  }

  /**
   * Groups whose prompts are prefilled together: several where the decoder takes them. A prompt that can
   * go on after what another one writes waits for the next pass.
   */
  private *passes(groups: readonly Run[][]): Generator<Run[][]> {
    for (let left = groups; left.length > 0;) {
      const pass: Run[][] = [];
      const later: Run[][] = [];
      let positions = 0;
      for (const runs of left) {
        const { entries, length } = runs[0].prompt;
        const held = this.cache.held(entries);
        const waits = pass.some(([{ prompt, keepAt }]) => {
          const common = commonPrefix(prompt.entries, entries);
          if (common < held + WORTH_SHARING) return false;
          if (this.model.decoder.states === undefined || common === prompt.length) return true;
          const cut = prompt.cutUpTo(common);
          if (cut < held + WORTH_SHARING) return false;
          keepAt.add(cut);
          return true;
        });
        const fits = positions + length - held <= MAX_PASS_POSITIONS;
        const isIn = pass.length === 0 || (this.model.decoder.takesMany && !waits && fits);
        (isIn ? pass : later).push(runs);
        if (isIn) positions += length - held;
      }
      yield pass;
      left = later;
    }
  }

  /** Begins groups in one pass; where that fails each in its own, so that an error meets its own runs. */
  private beginTogether(groups: readonly (readonly Run[])[]): void {
    if (groups.length > 1) {
      try {
        this.begin(groups);
        return;
      } catch {
        for (const run of groups.flat()) this.giveBack(run);
      }
    }
    for (const runs of groups) this.guard(runs, () => this.begin([runs]));
  }

  /** Begins groups of runs: each group's prompt is prefilled for its first run, the others copy it. */
  private begin(groups: readonly (readonly Run[])[]): void {
    scope(() => {
      const logits = this.prefill(groups.map(([first]) => first));
      const requests = groups.flatMap((runs, row) => {
        this.shareFirst(runs);
        return runs.map(({ task }) => ({ row, n: 0, params: task.params }));
      });
      const joined = logits.length === 1 ? logits[0] : cat(logits, 0);
      this.takeAll(groups.flat(), drawTokens(joined, requests));
    });
  }

  /** Copies what the first run of a group has in its slot to slots of the others. */
  private shareFirst([first, ...others]: readonly Run[]): void {
    const source = first.slot!;
    for (const run of others) {
      run.slot = this.cache.takeCopy(source);
      run.rope = first.rope;
    }
    const targets = others.map(({ slot }) => slot!.index);
    this.model.decoder.copyPrefix(source.index, targets, first.prompt.length);
    this.counted.cachedPositions += others.length * first.prompt.length;
  }

  /** Fills slots with the prompts of runs; logits [1, V] of the last position of each. */
  private prefill(runs: readonly Run[]): Tensor[] {
    const rest = runs.map((run) => ({ run, pieces: this.place(run) }));
    const logits: Tensor[] = [];
    for (let n = 0; ; n++) {
      const going = rest.filter(({ pieces }) => n < pieces.length);
      if (going.length === 0) return logits;
      const last = this.prefillPieces(going.map(({ run, pieces }) => ({ run, piece: pieces[n] })));
      for (const [i, { run, pieces }] of going.entries())
        if (n === pieces.length - 1) logits[runs.indexOf(run)] = last.narrow(0, i, 1);
    }
  }

  /** Takes a slot for a run and what the cache holds of its prompt; the pieces that are left. */
  private place(run: Run): Piece[] {
    const { decoder, config } = this.model;
    const { prompt } = run;
    const place = this.cache.take(prompt, decoder.mostReused(prompt.length));
    const { slot, source, held, kept, keepAt } = place;
    run.slot = slot;
    decoder.copyPrefix(source.index, [slot.index], held, kept);
    for (const position of keepAt) run.keepAt.add(position);
    this.counted.cachedPositions += held;
    if (held > 0) run.rope = sequencePositions(prompt.slice(0, held), config).next;
    return prompt.pieces(held, [...run.keepAt]);
  }

  /** One pass over a piece of each of some prompts; logits of their last positions. */
  private prefillPieces(pieces: readonly { readonly run: Run; readonly piece: Piece }[]): Tensor {
    const { decoder, features, config } = this.model;
    const chunks = pieces.map(({ piece }) => piece.chunks);
    const ropes = pieces.map(({ run }) => run.rope);
    const batch = planBatch(chunks, config, ropes);
    const where = pieces.map(({ run, piece }) => {
      return { slot: run.slot!.index, offset: piece.start };
    });
    const logits = decoder.prefill(where, batch, features.take(batch.images));
    for (const [i, { run, piece }] of pieces.entries()) {
      run.rope = batch.next[i];
      this.cache.append(run.slot!, run.prompt.entries.slice(piece.start, piece.end), piece.isWhole);
      if (run.keepAt.has(piece.end)) this.keepState(run.slot!);
      this.counted.prefillPositions += piece.end - piece.start;
    }
    this.counted.prefills += pieces.length;
    return logits;
  }

  /** Keeps the state of a slot as it is now, for prompts that part from it here. */
  private keepState(slot: Slot): void {
    const place = this.cache.keep(slot);
    if (place !== undefined) this.model.decoder.states?.keep(slot.index, place);
  }

  /** One decode step for all, or several of a model whose steps are short. */
  private decode(): void {
    const start = performance.now();
    const runs = this.decoding.splice(0);
    const rows = runs.map(({ slot, tokens, rope }): DecodeRow => {
      const { index, entries, source, shared } = slot!;
      return { slot: index, token: tokens.at(-1)!, length: entries.length, rope, source, shared };
    });
    this.guard(runs, () => {
      if (this.model.decoder.draws) this.decodeDrawing(runs, rows);
      else this.decodeStep(runs, rows);
    });
    this.counted.decodeSeconds += (performance.now() - start) / 1000;
  }

  private decodeStep(runs: readonly Run[], rows: readonly DecodeRow[]): void {
    scope(() => {
      const { logits, rowOf } = this.model.decoder.decode(rows);
      this.counted.decodeSteps++;
      const requests = runs.map(({ tokens, task }, i): DrawRequest => {
        return { row: rowOf(i), n: tokens.length, params: task.params };
      });
      for (const run of runs) this.fed(run);
      this.takeAll(runs, drawTokens(logits, requests));
    });
  }

  /** What a run draws behind its end is dropped. */
  private decodeDrawing(runs: readonly Run[], rows: readonly DecodeRow[]): void {
    const numSteps = this.stepsFor(runs);
    const draws = new Float64Array(numSteps * runs.length * DRAW_COLUMNS);
    for (let k = 0, at = 0; k < numSteps; k++)
      for (const { tokens, task } of runs)
        writeDraw(draws, at++, { row: 0, n: tokens.length + k, params: task.params });
    const drawn = this.model.decoder.decodeDrawing(rows, draws);
    this.counted.decodeSteps += numSteps;
    for (const [i, run] of runs.entries()) {
      let goesOn = true;
      for (let k = 0; k < numSteps && goesOn; k++) {
        this.fed(run);
        const at = 2 * (k * runs.length + i);
        goesOn = this.goesOn(run, { token: drawn[at], logprob: drawn[at + 1] });
      }
      if (goesOn) this.decoding.push(run);
    }
  }

  /** As many as any run can use, and none that a slot has no room for. */
  private stepsFor(runs: readonly Run[]): number {
    let wanted = 1;
    let room = this.maxSteps;
    for (const { slot, tokens, task } of runs) {
      wanted = Math.max(wanted, task.params.maxTokens - tokens.length);
      room = Math.min(room, this.model.decoder.cache.maxPositions - slot!.entries.length);
    }
    return Math.min(wanted, room);
  }

  /** The newest token of a run stands in its slot now. */
  private fed(run: Run): void {
    this.cache.extend(run.slot!, run.tokens.at(-1)!);
    run.rope++;
  }

  /** An error ends the runs it met, and nothing else. */
  private guard(runs: readonly Run[], work: () => void): void {
    try {
      work();
    } catch (error) {
      for (const run of runs) this.fail(run, error);
    }
  }

  private takeAll(runs: readonly Run[], drawn: readonly Drawn[]): void {
    for (const [i, run] of runs.entries()) if (this.goesOn(run, drawn[i])) this.decoding.push(run);
  }

  /** Gives a run its next token and says whether it goes on. */
  private goesOn(run: Run, { token, logprob }: Drawn): boolean {
    if (token >= 0) return !this.take(run, token, logprob);
    this.fail(run, notFinite());
    return false;
  }

  /** Adds a sampled token; true where it ends the sample, which is then reported. */
  private take(run: Run, token: number, logprob: number): boolean {
    const { params, id, tellsTokens } = run.task;
    run.tokens.push(token);
    run.logprobs.push(logprob);
    if (tellsTokens) this.events.token(id, token, logprob);
    this.counted.sampledTokens++;
    const room = this.model.decoder.cache.maxPositions - run.slot!.entries.length;
    const isFull = run.tokens.length >= params.maxTokens || room < 1;
    const wasStopped = run.stopped;
    run.stopped ||= run.stop.push(token);
    const goesOn = params.endOfTurn === true && !wasStopped && !isFull;
    const stopReason = this.model.eosIds.has(token)
      ? "eos"
      : run.stopped && !goesOn
        ? "stop"
        : isFull
          ? "length"
          : undefined;
    if (stopReason === undefined) return false;
    const { tokens, logprobs } = run;
    this.leave(run);
    const imageHashes = pixelHashes(run.task.prompt);
    const { weightsVersion } = this;
    this.events.sampled(id, { tokens, logprobs, stopReason, weightsVersion, imageHashes });
    return true;
  }

  private leave({ slot }: Run): void {
    if (slot !== null) this.cache.leave(slot);
  }

  private fail(run: Run, error: unknown): void {
    this.giveBack(run);
    this.events.failed(run.task.id, error);
  }

  /** Gives up a slot of which it is not known whether all was written. */
  private giveBack(run: Run): void {
    this.leave(run);
    if (run.slot !== null) this.cache.forget(run.slot);
    run.slot = null;
    run.rope = 0;
  }
}

function notFinite(): VigorlError {
  return new VigorlError("numerics", "sample: the model's logits are not finite", {
    hint: "look at the weights, and at the images of the prompt",
  });
}
