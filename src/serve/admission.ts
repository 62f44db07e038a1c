/**
 * Who is let in. A request takes bytes as its body comes, then one of the places, and keeps both until
 * its answer has left this process, whatever its end is.
 */
import type { Context } from "hono";
import { ApiError } from "./api-error.ts";
import { readJson, type BodyLimits } from "./body.ts";
import { Budget, type Share } from "./budget.ts";
import type { JsonBounds } from "./json-bounds.ts";
import { whenSent } from "./server.ts";

export interface AdmissionLimits extends BodyLimits {
  /** Requests at work or waiting; one more is turned away with 429. */
  readonly maxRequests: number;
  /** Of bodies and pictures of all requests; what goes beyond is turned away with 503. */
  readonly maxHeldBytes: number;
}

/** What a request that was let in has to know of its place. */
export interface Ticket {
  /** Takes the bytes that it holds. */
  readonly share: Share;
  /** The answer goes on behind the response; what this returns has to be called at its end. */
  goesOn(): () => void;
}

export class Admission {
  private readonly limits: AdmissionLimits;
  private readonly bounds: JsonBounds;
  private readonly held: Budget;
  private running = 0;

  constructor(limits: AdmissionLimits, bounds: JsonBounds) {
    this.limits = limits;
    this.bounds = bounds;
    this.held = new Budget(limits.maxHeldBytes, "bytes");
  }

  get numRunning(): number {
    return this.running;
  }

  get heldBytes(): number {
    return this.held.inUse;
  }

  /** @throws ApiError 400, 408, 413, 415, 429 or 503, and what `read` and `work` throw */
  async admit<T>(
    c: Context,
    read: (json: unknown) => T,
    work: (request: T, ticket: Ticket) => Promise<Response>,
  ): Promise<Response> {
    const share = this.held.share();
    let done = () => share.free();
    let isStream = false;
    const goesOn = () => {
      isStream = true;
      return () => whenSent(c, done);
    };
    try {
      // A body on its way takes bytes, but nobody's place.
      const request = read(await readJson(c, this.limits, this.bounds, share));
      if (this.running >= this.limits.maxRequests)
        throw new ApiError(429, `${this.running} requests are waiting already`);
      this.running++;
      done = once(() => {
        this.running--;
        share.free();
      });
      return await work(request, { share, goesOn });
    } finally {
      if (!isStream) whenSent(c, done);
    }
  }
}

function once(work: () => void): () => void {
  let isDone = false;
  return () => {
    if (!isDone) work();
    isDone = true;
  };
}
