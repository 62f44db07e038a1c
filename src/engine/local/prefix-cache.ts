/**
 * What the slots of the cache hold. A prompt goes on after the longest beginning that it shares with
 * any slot, busy or idle, whatever the two have to do with each other; idle contents stay until their
 * slot is needed, least recently used first. Who shared what, or lost what, changes no bit of a result:
 * only contents that a prompt would compute to the same bits itself are shared.
 *
 * Models with delta nets cannot begin anywhere: a prompt goes on only where the state of a sequence is
 * still there, which is at the end of a slot, or where it was kept. It is kept where a prompt is likely to
 * be taken up again: where it parts from what another one held, and behind its last whole piece.
 */
import { commonPrefix, type Entry, type Prompt } from "./sequence.ts";

export interface Slot {
  readonly index: number;
  /** What stands in it. */
  readonly entries: readonly Entry[];
  /** A request works on it. */
  readonly busy: boolean;
  /** A slot that begins with the same `shared` positions: where they are read together. */
  readonly source: number;
  readonly shared: number;
}

interface State {
  readonly index: number;
  entries: Entry[];
  /** Entries of which another prompt may take over the beginning. */
  reusable: number;
  busy: boolean;
  source: number;
  shared: number;
  /** Order of use. */
  lastUsed: number;
  /** Kept states of it, by position. */
  readonly kept: Map<number, KeptState>;
}

interface KeptState {
  readonly index: number;
  lastUsed: number;
}

/** Positions that are worth a state: fewer are soon computed again. */
const WORTH_KEEPING = 64;

/** A slot that was taken for a prompt, and the slot that holds its first `held` positions. */
export interface Place {
  readonly slot: Slot;
  readonly source: Slot;
  readonly held: number;
  /** Where the state after them was kept; absent where it is the source's own, or there are none. */
  readonly kept?: number;
  /** Positions of the prompt, ascending, whose states are worth keeping. */
  readonly keepAt: readonly number[];
}

export class PrefixCache {
  /** Contents that were given up for a prompt that does not go on after them. */
  evictions = 0;
  private readonly slots: readonly State[];
  /** Slots that may be taken, the first of all. */
  private numOpen: number;
  /** Anything a slot holds may be shared, not only whole pieces of prompts. */
  private readonly sharesAll: boolean;
  /** Places for kept states that are free; null where models begin anywhere. */
  private readonly freeStates: number[] | null;
  private clock = 0;

  /** @param numKept places for kept states, of models that cannot begin anywhere */
  constructor(numSlots: number, sharesAll: boolean, numKept: number | null = null) {
    this.sharesAll = sharesAll;
    this.freeStates = numKept === null ? null : Array.from({ length: numKept }, (_, i) => i);
    this.numOpen = numSlots;
    this.slots = Array.from({ length: numSlots }, (_, index) => ({
      index,
      entries: [],
      reusable: 0,
      busy: false,
      source: index,
      shared: 0,
      lastUsed: 0,
      kept: new Map(),
    }));
  }

  get numIdle(): number {
    return this.slots.filter(({ busy, index }) => !busy && index < this.numOpen).length;
  }

  /** The highest number of slots that a busy one is among. */
  get numInUse(): number {
    return 1 + this.slots.findLastIndex(({ busy }) => busy);
  }

  /** From now on there are so many slots, none of the others busy. */
  open(count: number): void {
    for (const slot of this.slots.slice(count)) this.forget(slot);
    this.numOpen = count;
  }

  /** Positions of a prompt that some slot holds, and after which it can go on. */
  held(entries: readonly Entry[]): number {
    let held = 0;
    for (const slot of this.slots) {
      // Most slots hold another beginning, and one look says so.
      if (slot.reusable <= held || slot.entries[held] !== entries[held]) continue;
      const common = Math.min(slot.reusable, commonPrefix(slot.entries, entries));
      held = Math.max(held, this.resumable(slot, common));
    }
    return held;
  }

  /**
   * Takes an idle slot for a prompt. Its entries become those that it shares with `source`, which are
   * to be copied from there where that is another slot.
   * @param most positions that are worth taking over; less than the prompt has
   */
  take(prompt: Prompt, most: number): Place {
    let best: State | undefined;
    let held = 0;
    let continued = false;
    let parting = 0;
    for (const slot of this.slots) {
      if (held > 0 && slot.entries[held - 1] !== prompt.entries[held - 1]) continue;
      const common = commonPrefix(slot.entries, prompt.entries);
      const usable = Math.min(common, slot.reusable, most);
      if (usable < held || usable === 0) continue;
      const parts = prompt.cutUpTo(usable);
      parting = Math.max(parting, parts);
      const cut = this.resumable(slot, parts);
      const goesOn = !slot.busy && common === slot.entries.length;
      if (cut < held || cut === 0 || (cut === held && (continued || !goesOn))) continue;
      [best, held, continued] = [slot, cut, goesOn];
    }
    const kept = best && this.stateAt(best, held);
    const slot = continued ? best! : this.oldestIdle();
    const source = best ?? slot;
    if (slot === source) this.cutOff(slot, held, !continued);
    else this.replace(slot, source, held);
    slot.busy = true;
    const keepAt: number[] = [];
    // What is decoded can be taken up at the end of its slot, or where its bits are not the prompt's own.
    if (this.freeStates !== null)
      for (const position of [parting, ...(this.sharesAll ? [] : [prompt.lastCut])])
        if (position - held >= WORTH_KEEPING && !keepAt.includes(position)) keepAt.push(position);
    return { slot, source, held, kept, keepAt: keepAt.sort((a, b) => a - b) };
  }

  /** A place for the state of a slot as it is now, where there is any: the one used longest ago. */
  keep({ index }: Slot): number | undefined {
    const slot = this.slots[index];
    const position = slot.entries.length;
    if (this.freeStates === null || slot.kept.has(position)) return undefined;
    const place = this.freeStates.pop() ?? this.dropOldestState();
    if (place !== undefined) slot.kept.set(position, { index: place, lastUsed: ++this.clock });
    return place;
  }

  /** Takes an idle slot for all that another one holds, which is to be copied. */
  takeCopy(source: Slot): Slot {
    const slot = this.oldestIdle();
    this.replace(slot, this.slots[source.index], source.entries.length);
    slot.busy = true;
    return slot;
  }

  /** Notes what was prefilled after a slot's entries; `whole`: a whole piece of a prompt. */
  append({ index }: Slot, entries: readonly Entry[], whole: boolean): void {
    const slot = this.slots[index];
    const mayShare = this.sharesAll || (whole && slot.reusable === slot.entries.length);
    for (const entry of entries) slot.entries.push(entry);
    if (mayShare) slot.reusable = slot.entries.length;
  }

  /** Notes a token that was decoded after a slot's entries. */
  extend({ index }: Slot, token: number): void {
    const slot = this.slots[index];
    slot.entries.push(token);
    if (this.sharesAll) slot.reusable = slot.entries.length;
  }

  /** Nobody works on a slot any more; what it holds stays until it is needed. */
  leave({ index }: Slot): void {
    this.slots[index].busy = false;
    this.slots[index].lastUsed = ++this.clock;
  }

  /** What a slot holds is not to be used. */
  forget({ index }: Slot): void {
    this.cutOff(this.slots[index], 0, false);
    this.slots[index].lastUsed = 0;
  }

  /** What old weights computed is not to be used. */
  clear(): void {
    for (const slot of this.slots) this.forget(slot);
  }

  /** Lets a slot hold the first `length` positions of another. */
  private replace(slot: State, source: State, length: number): void {
    this.cutOff(slot, 0, true);
    slot.entries = source.entries.slice(0, length);
    slot.reusable = Math.min(source.reusable, length);
    const isRoot = source.shared < length;
    slot.source = isRoot ? source.index : source.source;
    slot.shared = length;
  }

  /** The last of the first `length` positions of a slot after which a prompt can go on. */
  private resumable(slot: State, length: number): number {
    if (this.freeStates === null || length === slot.entries.length) return length;
    let last = 0;
    for (const position of slot.kept.keys())
      if (position <= length && position > last) last = position;
    return last;
  }

  /** Where the state after the first `length` positions of a slot was kept, if it is not its own. */
  private stateAt(slot: State, length: number): number | undefined {
    if (this.freeStates === null || length === slot.entries.length) return undefined;
    const found = slot.kept.get(length);
    if (found === undefined) return undefined;
    found.lastUsed = ++this.clock;
    return found.index;
  }

  private dropOldestState(): number | undefined {
    let oldest:
      { readonly of: State; readonly position: number; readonly state: KeptState } | undefined;
    for (const of of this.slots)
      for (const [position, state] of of.kept)
        if (oldest === undefined || state.lastUsed < oldest.state.lastUsed)
          oldest = { of, position, state };
    oldest?.of.kept.delete(oldest.position);
    return oldest?.state.index;
  }

  /** Shortens what a slot holds, also for those that read it there. */
  private cutOff(slot: State, length: number, evicts: boolean): void {
    if (evicts && slot.entries.length > length) this.evictions++;
    for (const [position, { index }] of slot.kept) {
      if (position <= length) continue;
      slot.kept.delete(position);
      this.freeStates?.push(index);
    }
    slot.entries.length = length;
    slot.reusable = Math.min(slot.reusable, length);
    slot.shared = Math.min(slot.shared, length);
    for (const one of this.slots)
      if (one.source === slot.index && one !== slot) one.shared = Math.min(one.shared, length);
  }

  private oldestIdle(): State {
    let found: State | undefined;
    for (const slot of this.slots)
      if (
        !slot.busy &&
        slot.index < this.numOpen &&
        (found === undefined || slot.lastUsed < found.lastUsed)
      )
        found = slot;
    if (found === undefined) throw new Error("no slot is idle");
    return found;
  }
}
