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
import type { Decoder } from "../../model/decoder.ts";
import type { ModelConfig } from "../../model/config.ts";
import type { Tensor } from "../../torch/ops.ts";
import { scope } from "../../torch/scope.ts";
import type { Chunk, Sample, SampleParams } from "../types.ts";
import { drawTokens, type Drawn, type DrawRequest } from "./draw.ts";
import type { FeatureCache } from "./feature-cache.ts";
import { pixelHashes } from "./pixel-hashes.ts";
import { PrefixCache, type Slot } from "./prefix-cache.ts";
import { contentKey, Prompt } from "./sequence.ts";
import { StopMatcher, type TokenBytes } from "./stop.ts";

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
    const { cache, pieceLength } = model.decoder;
    this.cache = new PrefixCache(cache.numSlots, pieceLength === null);
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

  /** One round: prompts of requests that there is a place for, then one decode step for all. */
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
    };
  }

  /** Gives places to waiting requests, in order, and samples their first tokens. */
  private fill(): void {
    if (this.waiting.length === 0) return;
    const numFree = this.model.decoder.numRows - this.decoding.length;
    const places = Math.min(this.waiting.length, this.cache.numIdle, numFree);
    if (places === 0) return;
    const start = performance.now();
    const groups = new Map<string, Run[]>();
    for (const run of this.waiting.splice(0, places)) {
      const key = contentKey(run.task.prompt);
      groups.set(key, [...(groups.get(key) ?? []), run]);
    }
    for (const runs of groups.values()) this.guard(runs, () => this.begin(runs));
    this.counted.prefillSeconds += (performance.now() - start) / 1000;
  }

  /** Begins runs of one prompt: it is prefilled for the first of them and copied to the others. */
  private begin(runs: readonly Run[]): void {
    const [first, ...others] = runs;
    scope(() => {
      const logits = this.prefill(first);
      const source = first.slot!;
      for (const run of others) {
        run.slot = this.cache.takeCopy(source);
        run.rope = first.rope;
      }
      const targets = others.map(({ slot }) => slot!.index);
      this.model.decoder.copyPrefix(source.index, targets, first.prompt.length);
      this.counted.cachedPositions += others.length * first.prompt.length;
      const requests = runs.map(({ task }) => ({ row: 0, n: 0, params: task.params }));
      this.takeAll(runs, drawTokens(logits, requests));
    });
  }

  /** Fills a slot with the prompt of a run; logits of its last position, [1, V]. */
  private prefill(run: Run): Tensor {
    const { decoder, features, config } = this.model;
    const { prompt } = run;
    const { slot, source, held } = this.cache.take(prompt, decoder.mostReused(prompt.length));
    run.slot = slot;
    decoder.copyPrefix(source.index, [slot.index], held);
    this.counted.cachedPositions += held;
    if (held > 0) run.rope = sequencePositions(prompt.slice(0, held), config).next;
    let logits: Tensor | undefined;
    for (const { start, end, isWhole, chunks } of prompt.pieces(held)) {
      const batch = planBatch([chunks], config, [run.rope]);
      logits = decoder.prefill(slot.index, start, batch, features.take(batch.images));
      [run.rope] = batch.next;
      this.cache.append(slot, prompt.entries.slice(start, end), isWhole);
      this.counted.prefills++;
      this.counted.prefillPositions += end - start;
    }
    return logits!;
  }

  private decode(): void {
    const start = performance.now();
    const runs = this.decoding.splice(0);
    const rows = runs.map(({ slot, tokens, rope }): DecodeRow => {
      const { index, entries, source, shared } = slot!;
      return { slot: index, token: tokens.at(-1)!, length: entries.length, rope, source, shared };
    });
    this.guard(runs, () =>
      scope(() => {
        const { logits, rowOf } = this.model.decoder.decode(rows);
        this.counted.decodeSteps++;
        const requests = runs.map((run, i): DrawRequest => {
          this.cache.append(run.slot!, [rows[i].token], false);
          run.rope++;
          return { row: rowOf(i), n: run.tokens.length, params: run.task.params };
        });
        this.takeAll(runs, drawTokens(logits, requests));
      }),
    );
    this.counted.decodeSeconds += (performance.now() - start) / 1000;
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
    for (const [i, { token, logprob }] of drawn.entries()) {
      if (token < 0) this.fail(runs[i], notFinite());
      else if (!this.take(runs[i], token, logprob)) this.decoding.push(runs[i]);
    }
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
    this.leave(run);
    // Whether all of it was written is not known.
    if (run.slot !== null) this.cache.forget(run.slot);
    this.events.failed(run.task.id, error);
  }
}

function notFinite(): VigorlError {
  return new VigorlError("numerics", "sample: the model's logits are not finite", {
    hint: "look at the weights, and at the images of the prompt",
  });
}
