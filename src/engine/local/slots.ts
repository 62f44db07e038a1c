/**
 * Which conversation holds which slot of the KV cache, and which prompts lie in the cache to be
 * shared. A slot that nobody holds keeps the prompt it was filled with until it is filled again.
 */
import type { DecodeInput } from "../../model/cache-attention.ts";
import type { Tensor } from "../../torch/ops.ts";
import type { History } from "./sequence.ts";

/** A sequence of turns (or a single call) and what the cache holds of it. */
export interface Conversation {
  /** Undefined for single calls, and after its release. */
  session: string | undefined;
  readonly history: History;
  slot: Slot | null;
  /** A call is waiting or running. */
  busy: boolean;
}

export interface Slot {
  readonly index: number;
  holder: Conversation | null;
  prompt: SharedPrompt | null;
  /** A prompt of another slot that this one begins with, too. */
  borrowed: SharedPrompt | null;
  /** Order of use. */
  lastUsed: number;
}

/** A prompt as the first prefill of slot `slot` left it. */
export interface SharedPrompt {
  readonly key: string;
  readonly slot: number;
  readonly length: number;
  /** M-RoPE position after it. */
  readonly rope: number;
  /** Of its last position, [1, V]; kept until the prompt is overwritten. */
  readonly logits: Tensor;
}

export class Slots {
  /** Input of a decode step, reused by every step. */
  readonly input: {
    -readonly [K in keyof DecodeInput]: DecodeInput[K];
  };
  private readonly slots: Slot[];
  private readonly prompts = new Map<string, SharedPrompt>();
  private clock = 0;

  constructor(numSlots: number) {
    this.slots = Array.from({ length: numSlots }, (_, index) => ({
      index,
      holder: null,
      prompt: null,
      borrowed: null,
      lastUsed: 0,
    }));
    this.input = {
      tokens: new Int32Array(numSlots),
      positions: new Int32Array(numSlots),
      lengths: new Int32Array(numSlots),
      active: new Uint8Array(numSlots),
      sources: new Int32Array(numSlots),
      shared: new Int32Array(numSlots),
    };
  }

  /** The prompt of this content, where a slot holds it. */
  promptOf(key: string): SharedPrompt | undefined {
    return this.prompts.get(key);
  }

  /**
   * Gives `conversation` a slot: preferably the one that holds its first prompt, else the free one
   * that lay idle longest, else (only if `mayEvict`) that of the session that did.
   */
  assign(
    conversation: Conversation,
    promptKey: string,
    mayEvict: boolean,
  ): "free" | "evicted" | "full" {
    const shared = this.prompts.get(promptKey);
    let slot = shared === undefined ? undefined : this.slots[shared.slot];
    if (slot === undefined || slot.holder !== null)
      slot = this.oldest((one) => one.holder === null);
    let outcome: "free" | "evicted" = "free";
    if (slot === undefined && mayEvict) {
      slot = this.oldest((one) => one.holder?.busy === false);
      outcome = "evicted";
    }
    if (slot === undefined) return "full";
    if (slot.holder !== null) slot.holder.slot = null;
    if (slot.prompt?.key !== promptKey) this.dropPrompt(slot);
    slot.borrowed = null;
    slot.holder = conversation;
    conversation.slot = slot;
    slot.lastUsed = ++this.clock;
    return outcome;
  }

  touch({ slot }: Conversation): void {
    if (slot !== null) slot.lastUsed = ++this.clock;
  }

  free(conversation: Conversation): void {
    const { slot } = conversation;
    if (slot === null) return;
    slot.holder = null;
    conversation.slot = null;
    slot.lastUsed = ++this.clock;
  }

  /** Notes that a slot now begins with this prompt. */
  holdPrompt(prompt: SharedPrompt): void {
    const slot = this.slots[prompt.slot];
    this.dropPrompt(slot);
    slot.prompt = prompt;
    this.prompts.set(prompt.key, prompt);
  }

  /** Forgets the prompt that a slot begins with: other positions are about to be written over it. */
  dropPrompt(slot: Slot): void {
    slot.borrowed = null;
    if (slot.prompt === null) return;
    if (this.prompts.get(slot.prompt.key) === slot.prompt) this.prompts.delete(slot.prompt.key);
    slot.prompt.logits.dispose();
    slot.prompt = null;
  }

  /** Frees every slot and forgets every prompt: new weights. */
  forgetContents(): void {
    for (const slot of this.slots) {
      this.dropPrompt(slot);
      if (slot.holder !== null) this.free(slot.holder);
    }
  }

  /** Fills `input` for slots that do not take part; lengths also for those that will. */
  describe(): void {
    const { tokens, positions, lengths, active, sources, shared } = this.input;
    for (const { index, holder, prompt, borrowed } of this.slots) {
      // A lender's prompt stays as it is until another takes its place.
      const lent = borrowed !== null && this.slots[borrowed.slot].prompt === borrowed;
      sources[index] = lent ? borrowed.slot : index;
      shared[index] = lent ? borrowed.length : 0;
      active[index] = 0;
      tokens[index] = 0;
      positions[index] = 0;
      lengths[index] = holder === null ? (prompt?.length ?? 0) : holder.history.length;
    }
  }

  private oldest(where: (slot: Slot) => boolean): Slot | undefined {
    let found: Slot | undefined;
    for (const slot of this.slots)
      if (where(slot) && (found === undefined || slot.lastUsed < found.lastUsed)) found = slot;
    return found;
  }
}
