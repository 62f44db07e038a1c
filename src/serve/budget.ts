/**
 * What all requests together may hold at a time: bytes of bodies and pictures, pixels that wait to be
 * decoded. A request takes its share before it makes anything of it, and gives it back at its end.
 */
import { ApiError } from "./api-error.ts";

export class Budget {
  private readonly total: number;
  private readonly what: string;
  private used = 0;

  /** @param what for the message: "MiB of requests" */
  constructor(total: number, what: string) {
    this.total = total;
    this.what = what;
  }

  /** What is held now. */
  get inUse(): number {
    return this.used;
  }

  /** An empty share. */
  share(): Share {
    let held = 0;
    const take = (amount: number): void => {
      if (held + amount > this.total)
        throw new ApiError(413, `the request alone takes more ${this.what} than this server has`);
      if (this.used + amount > this.total)
        throw new ApiError(503, `the server has no more ${this.what} free; ask again`);
      held += amount;
      this.used += amount;
    };
    const free = (): void => {
      this.used -= held;
      held = 0;
    };
    return { take, free };
  }
}

export interface Share {
  /** Takes more. @throws ApiError 413 where it could never be had, 503 where others hold it */
  take(amount: number): void;
  /** Gives all of it back; again and again does no harm. */
  free(): void;
}
