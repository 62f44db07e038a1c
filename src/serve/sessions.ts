/**
 * Conversations that clients come back to (`session_id`): the engine may keep what it knows of one
 * between turns. A client says when it is over; one that never does is forgotten after a while. A
 * session is a convenience: the same prompt without one gives the same answer, later.
 */
import type { Sampler } from "../engine/types.ts";
import { ApiError } from "./api-error.ts";

export class Sessions {
  private readonly sampler: Sampler;
  private readonly idleMs: number;
  /** By id: the timer that forgets it, or null while it is at work. */
  private readonly timers = new Map<string, NodeJS.Timeout | null>();

  constructor(sampler: Sampler, idleMs: number) {
    this.sampler = sampler;
    this.idleMs = idleMs;
  }

  /**
   * Takes a session for one request; the function returned gives it back.
   * @throws ApiError 409 while another request has it.
   */
  take(id: string): () => void {
    const known = this.timers.get(id);
    if (known === null)
      throw new ApiError(409, `session ${id} is at work on another request`, {
        param: "session_id",
      });
    clearTimeout(known);
    this.timers.set(id, null);
    return () => {
      if (!this.timers.has(id)) return;
      const timer = setTimeout(() => this.release(id), this.idleMs);
      timer.unref();
      this.timers.set(id, timer);
    };
  }

  /** Forgets a session, known or not. */
  release(id: string): void {
    clearTimeout(this.timers.get(id) ?? undefined);
    this.timers.delete(id);
    this.sampler.release(id);
  }
}
