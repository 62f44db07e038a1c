/**
 * What the slots of the cache hold. A prompt goes on after the longest beginning that it shares with
 * any slot, busy or idle, whatever the two have to do with each other; idle contents stay until their
 * slot is needed, least recently used first. Who shared what, or lost what, changes no bit of a result:
 * only contents that a prompt would compute to the same bits itself are shared.
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
}

/** A slot that was taken for a prompt, and the slot that holds its first `held` positions. */
export interface Place {
  readonly slot: Slot;
  readonly source: Slot;
  readonly held: number;
}

export class PrefixCache {
  /** Contents that were given up for a prompt that does not go on after them. */
  evictions = 0;
  private readonly slots: readonly State[];
  /** Slots that may be taken, the first of all. */
  private numOpen: number;
  /** Anything a slot holds may be shared, not only whole pieces of prompts. */
  private readonly sharesAll: boolean;
  private clock = 0;

  constructor(numSlots: number, sharesAll: boolean) {
    this.sharesAll = sharesAll;
    this.numOpen = numSlots;
    this.slots = Array.from({ length: numSlots }, (_, index) => ({
      index,
      entries: [],
      reusable: 0,
      busy: false,
      source: index,
      shared: 0,
      lastUsed: 0,
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

  /** Positions of a prompt that some slot holds. */
  held(entries: readonly Entry[]): number {
    let held = 0;
    for (const slot of this.slots) {
      // Most slots hold another beginning, and one look says so.
      if (slot.reusable <= held || slot.entries[held] !== entries[held]) continue;
      held = Math.max(held, Math.min(slot.reusable, commonPrefix(slot.entries, entries)));
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
    for (const slot of this.slots) {
      if (held > 0 && slot.entries[held - 1] !== prompt.entries[held - 1]) continue;
      const common = commonPrefix(slot.entries, prompt.entries);
      const usable = Math.min(common, slot.reusable, most);
      if (usable < held || usable === 0) continue;
      const cut = prompt.cutUpTo(usable);
      const goesOn = !slot.busy && common === slot.entries.length;
      if (cut < held || cut === 0 || (cut === held && (continued || !goesOn))) continue;
      [best, held, continued] = [slot, cut, goesOn];
    }
    const slot = continued ? best! : this.oldestIdle();
    const source = best ?? slot;
    if (slot === source) this.cutOff(slot, held, !continued);
    else this.replace(slot, source, held);
    slot.busy = true;
    return { slot, source, held };
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

  /** Shortens what a slot holds, also for those that read it there. */
  private cutOff(slot: State, length: number, evicts: boolean): void {
    if (evicts && slot.entries.length > length) this.evictions++;
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
