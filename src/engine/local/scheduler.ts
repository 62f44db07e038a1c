/**
 * Continuous batching on a fixed number of slots. A request waits for a slot, prefills its prompt
 * alone (or copies it from a slot that holds the same), then decodes side by side with all others; a
 * finished slot takes the next request at once. A session keeps its slot between turns and continues
 * on what it holds; under pressure an idle session loses the slot and is played again when it comes back.
 *
 * Law: the tokens and log-probabilities of a request are the same bits whatever else is in flight.
 * Prefills have the shape of their own prompt, decode steps always have all slots, and a history is
 * rebuilt in the pieces it was made of.
 */
import { VigorlError } from "../../core/errors.ts";
import { planBatch } from "../../model/batch.ts";
import type { Decoder } from "../../model/decoder.ts";
import type { ModelConfig } from "../../model/config.ts";
import type { Tensor } from "../../torch/ops.ts";
import { scope } from "../../torch/scope.ts";
import type { Chunk, Sample, SampleParams } from "../types.ts";
import { drawTokens, type Drawn, type DrawRequest } from "./draw.ts";
import type { FeatureCache } from "./feature-cache.ts";
import { pixelHashes } from "./pixel-hashes.ts";
import { chunksFrom, contentKey, flatten, History, type Segment } from "./sequence.ts";
import { Slots, type Conversation } from "./slots.ts";
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
  readonly session: string | undefined;
  /** Report each token as it is drawn, too. */
  readonly tellsTokens: boolean;
}

export interface SchedulerEvents {
  token(id: number, token: number, logprob: number): void;
  sampled(id: number, sample: Sample): void;
  failed(id: number, error: unknown): void;
}

/** A request on its way: waiting while its conversation has no slot or `plan` is not empty. */
interface Run {
  readonly task: SampleTask;
  readonly conversation: Conversation;
  readonly stop: StopMatcher;
  /** A stop string has come. */
  stopped: boolean;
  readonly tokens: number[];
  readonly logprobs: number[];
  /** What still has to enter the cache before sampling begins. */
  readonly plan: Segment[];
  /** Tokens of an earlier turn that are being played again, oldest first. */
  replay: number[];
  /** Not yet in the cache: sampled last, or next of a replay. */
  newest: number;
}

/** Counters since the start. */
export interface SchedulerCounts {
  prefills: number;
  prefillPositions: number;
  sharedPrompts: number;
  decodeSteps: number;
  sampledTokens: number;
  evictions: number;
  prefillSeconds: number;
  decodeSeconds: number;
}

export class Scheduler {
  readonly counts: SchedulerCounts = {
    prefills: 0,
    prefillPositions: 0,
    sharedPrompts: 0,
    decodeSteps: 0,
    sampledTokens: 0,
    evictions: 0,
    prefillSeconds: 0,
    decodeSeconds: 0,
  };
  weightsVersion = 0;
  private readonly model: SchedulerModel;
  private readonly events: SchedulerEvents;
  private readonly slots: Slots;
  private readonly sessions = new Map<string, Conversation>();
  private waiting: Run[] = [];
  private filling: Run[] = [];
  private decoding: Run[] = [];

  constructor(model: SchedulerModel, events: SchedulerEvents) {
    this.model = model;
    this.events = events;
    this.slots = new Slots(model.decoder.cache.numSlots);
  }

  /** Nothing is waiting or running. */
  get idle(): boolean {
    return this.waiting.length + this.filling.length + this.decoding.length === 0;
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
    for (const list of [this.waiting, this.filling, this.decoding]) {
      const at = list.findIndex((run) => run.task.id === id);
      if (at >= 0) this.leave(list.splice(at, 1)[0]);
    }
  }

  abortAll(): void {
    for (const list of [this.waiting, this.filling, this.decoding])
      for (const run of list.splice(0)) this.leave(run);
  }

  release(session: string): void {
    const conversation = this.sessions.get(session);
    this.sessions.delete(session);
    if (conversation === undefined) return;
    conversation.session = undefined;
    if (!conversation.busy) this.slots.free(conversation);
  }

  /** Drops everything that old weights computed. Only while idle. */
  weightsChanged(version: number): void {
    this.weightsVersion = version;
    this.slots.forgetContents();
    for (const conversation of this.sessions.values()) conversation.history.clear();
    this.model.decoder.refresh();
  }

  /** One round: fill what slots allow, then one decode step for all that can. */
  step(): void {
    this.admit();
    if (this.filling.length > 0) this.fill();
    if (this.decoding.length > 0) this.decode();
  }

  private newRun(task: SampleTask): Run {
    const { params, session, prompt } = task;
    const entries = flatten(prompt);
    const { maxPositions } = this.model.decoder.cache;
    if (entries.length === 0) throw new VigorlError("input", "sample: the prompt is empty");
    this.model.decoder.cache.checkRoom(entries.length);
    if (params.maxTokens < 1 || entries.length > maxPositions)
      throw new VigorlError("input", `sample: maxTokens must be ≥ 1 (got ${params.maxTokens})`);
    const { tokenBytes } = this.model;
    if (params.stop.length > 0 && tokenBytes === undefined)
      throw new VigorlError("input", "sample: stop strings need a tokenizer in the model folder");
    const conversation = this.conversationOf(session);
    const { history } = conversation;
    const kept = history.keepPrefix(entries);
    const plan: Segment[] = [];
    if (conversation.slot === null) {
      plan.push(...history.segments);
      history.clear();
    }
    plan.push({ kind: "prefill", chunks: chunksFrom(prompt, kept) });
    conversation.busy = true;
    const stop = new StopMatcher(params.stop, tokenBytes ?? (() => ""));
    return {
      task,
      conversation,
      stop,
      stopped: false,
      tokens: [],
      logprobs: [],
      plan,
      replay: [],
      newest: -1,
    };
  }

  private conversationOf(session: string | undefined): Conversation {
    const known = session === undefined ? undefined : this.sessions.get(session);
    if (known?.busy === true)
      throw new VigorlError("usage", `sample: session ${session} has a call in flight already`);
    if (known !== undefined) return known;
    const made: Conversation = { session, history: new History(), slot: null, busy: true };
    if (session !== undefined) this.sessions.set(session, made);
    return made;
  }

  /** Gives slots to waiting requests, in order; those that own one already pass. */
  private admit(): void {
    const left: Run[] = [];
    for (const run of this.waiting) {
      const { conversation } = run;
      if (conversation.slot === null) {
        const first = run.plan[0];
        const key = first.kind === "prefill" ? contentKey(first.chunks) : "";
        const mayEvict = this.filling.length + this.decoding.length === 0;
        const evicted = this.slots.assign(conversation, key, mayEvict);
        if (evicted === "full") {
          left.push(run);
          continue;
        }
        if (evicted === "evicted") this.counts.evictions++;
      }
      this.filling.push(run);
    }
    this.waiting = left;
  }

  /** Takes the next piece of every new request's plan; prompts that repeat are copied together. */
  private fill(): void {
    const start = performance.now();
    const repeated = new Map<string, Run[]>();
    for (const run of this.filling.splice(0)) {
      const segment = run.plan[0];
      if (segment.kind === "decode") {
        run.plan.shift();
        [run.newest, ...run.replay] = segment.tokens;
        this.decoding.push(run);
        continue;
      }
      const fresh = run.conversation.history.length === 0;
      const key = fresh ? contentKey(segment.chunks) : undefined;
      if (key === undefined || this.slots.promptOf(key) === undefined)
        this.guard([run], () => this.prefill(run, segment.chunks, key));
      else repeated.set(key, [...(repeated.get(key) ?? []), run]);
    }
    for (const [key, runs] of repeated) this.guard(runs, () => this.share(runs, key));
    this.counts.prefillSeconds += (performance.now() - start) / 1000;
  }

  /** Runs the next prefill of a plan; `key` where it is the beginning of a sequence. */
  private prefill(run: Run, chunks: readonly Chunk[], key: string | undefined): void {
    const { decoder, features, config } = this.model;
    const { history } = run.conversation;
    const slot = run.conversation.slot!;
    if (key !== undefined) this.slots.dropPrompt(slot);
    scope(() => {
      const batch = planBatch([chunks], config, [history.rope]);
      const seen = features.take(batch.images);
      const logits = decoder.prefill(slot.index, history.length, batch, seen);
      history.addPrefill(chunks, batch.next[0]);
      this.counts.prefills++;
      this.counts.prefillPositions += batch.lengths[0];
      if (key !== undefined) {
        const { length, rope } = history;
        this.slots.holdPrompt({ key, slot: slot.index, length, rope, logits: logits.keep() });
      }
      this.afterPrefill([run], logits);
    });
  }

  /** Gives runs the beginning that some slot holds already, or else holds after the first of them. */
  private share(runs: readonly Run[], key: string): void {
    const chunksOf = ({ plan }: Run): readonly Chunk[] =>
      plan[0].kind === "prefill" ? plan[0].chunks : [];
    let rest = runs;
    if (this.slots.promptOf(key) === undefined) {
      this.prefill(runs[0], chunksOf(runs[0]), key);
      rest = runs.slice(1);
    }
    const prompt = this.slots.promptOf(key)!;
    const targets = rest.map(({ conversation }) => conversation.slot!);
    for (const slot of targets) {
      if (slot.index === prompt.slot) continue;
      this.slots.dropPrompt(slot);
      slot.borrowed = prompt;
    }
    this.model.decoder.copyPrefix(
      prompt.slot,
      targets.map(({ index }) => index),
      prompt.length,
    );
    for (const run of rest) run.conversation.history.addPrefill(chunksOf(run), prompt.rope);
    this.counts.sharedPrompts += rest.length;
    this.afterPrefill(rest, prompt.logits);
  }

  /** Goes on with each plan, or samples the first token where the prompt is complete. */
  private afterPrefill(runs: readonly Run[], logits: Tensor): void {
    const ready: Run[] = [];
    for (const run of runs) {
      run.plan.shift();
      if (run.plan.length > 0) this.filling.push(run);
      else ready.push(run);
    }
    const requests = ready.map(({ task }) => ({ row: 0, n: 0, params: task.params }));
    this.takeAll(ready, drawTokens(logits, requests));
  }

  private decode(): void {
    const start = performance.now();
    const { input } = this.slots;
    this.slots.describe();
    const runs = this.decoding.splice(0);
    for (const { conversation, newest } of runs) {
      const { index } = conversation.slot!;
      input.active[index] = 1;
      input.tokens[index] = newest;
      input.positions[index] = conversation.history.rope;
    }
    this.guard(runs, () =>
      scope(() => {
        const logits = this.model.decoder.decode(input);
        this.counts.decodeSteps++;
        for (const { conversation, newest } of runs) conversation.history.addToken(newest);
        const sampling = runs.filter((run) => !this.continueReplay(run));
        const requests = sampling.map(({ conversation, tokens, task }): DrawRequest => ({
          row: conversation.slot!.index,
          n: tokens.length,
          params: task.params,
        }));
        if (requests.length > 0) this.takeAll(sampling, drawTokens(logits, requests));
      }),
    );
    this.counts.decodeSeconds += (performance.now() - start) / 1000;
  }

  /** An error ends the runs it met, and nothing else. */
  private guard(runs: readonly Run[], work: () => void): void {
    try {
      work();
    } catch (error) {
      for (const run of runs) this.fail(run, error);
    }
  }

  /** True while the step that just ran was part of a replay, whose logits nobody needs. */
  private continueReplay(run: Run): boolean {
    if (run.replay.length > 0) {
      run.newest = run.replay.shift()!;
      this.decoding.push(run);
      return true;
    }
    if (run.plan.length === 0) return false;
    this.filling.push(run);
    return true;
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
    run.newest = token;
    this.counts.sampledTokens++;
    const room = this.model.decoder.cache.maxPositions - run.conversation.history.length;
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

  /** Ends a run; its conversation keeps the slot only where a session may come back for it. */
  private leave(run: Run): void {
    const { conversation } = run;
    conversation.busy = false;
    if (run.plan.length > 0 || run.replay.length > 0) conversation.history.clear();
    if (conversation.session === undefined || conversation.history.length === 0)
      this.slots.free(conversation);
    else this.slots.touch(conversation);
  }

  private fail(run: Run, error: unknown): void {
    run.conversation.history.clear();
    this.leave(run);
    this.events.failed(run.task.id, error);
  }
}

function notFinite(): VigorlError {
  return new VigorlError("numerics", "sample: the model's logits are not finite", {
    hint: "look at the weights, and at the images of the prompt",
  });
}
