/**
 * Random streams keyed by what they are for, so that results never depend on the order or the
 * concurrency in which things happen: `stream(seed, "rollout", step, prompt, member, turn)`.
 * Generator: xoroshiro128+ of pure-rand; its 128 bits of state are SHA-256 over the key.
 */
import { createHash } from "node:crypto";
import { uniformFloat64 } from "pure-rand/distribution/uniformFloat64";
import { uniformInt } from "pure-rand/distribution/uniformInt";
import { xoroshiro128plusFromState } from "pure-rand/generator/xoroshiro128plus";
import type { RandomGenerator } from "pure-rand/types/RandomGenerator";

export type StreamKey = string | number;

/** A seeded stream of random numbers. Holds state: make one per purpose, never share one. */
export class Rng {
  private readonly generator: RandomGenerator;

  constructor(generator: RandomGenerator) {
    this.generator = generator;
  }

  /** Uniform in [0, 1), 53 bits. */
  float(): number {
    return uniformFloat64(this.generator);
  }

  /** Uniform integer in [low, high], both inclusive. */
  int(low: number, high: number): number {
    return uniformInt(this.generator, low, high);
  }

  /** Uniform real in [low, high). */
  uniform(low: number, high: number): number {
    return low + (high - low) * this.float();
  }

  /** Standard normal (Box–Muller, one of the pair). */
  normal(): number {
    const radius = Math.sqrt(-2 * Math.log(1 - this.float()));
    return radius * Math.cos(2 * Math.PI * this.float());
  }

  /** True with probability `p`. */
  chance(p: number): boolean {
    return this.float() < p;
  }

  /** One element, uniformly. Throws on an empty list. */
  pick<T>(items: readonly T[]): T {
    if (items.length === 0) throw new Error("Rng.pick: empty list");
    return items[this.int(0, items.length - 1)]!;
  }

  /** A shuffled copy (Fisher–Yates). */
  shuffle<T>(items: readonly T[]): T[] {
    const out = [...items];
    for (let i = out.length - 1; i > 0; i--) {
      const j = this.int(0, i);
      [out[i], out[j]] = [out[j]!, out[i]!];
    }
    return out;
  }
}

/** Opens the stream that belongs to `seed` and `keys`; the same arguments give the same numbers. */
export function stream(seed: number, ...keys: StreamKey[]): Rng {
  const digest = createHash("sha256")
    .update(JSON.stringify([seed, ...keys]))
    .digest();
  const state = [0, 4, 8, 12].map((offset) => digest.readInt32LE(offset));
  return new Rng(xoroshiro128plusFromState(state));
}

/** A 32-bit unsigned seed derived from `seed` and `keys`, for generators that live elsewhere (libtorch). */
export function deriveSeed(seed: number, ...keys: StreamKey[]): number {
  return createHash("sha256")
    .update(JSON.stringify([seed, "seed", ...keys]))
    .digest()
    .readUInt32LE(0);
}
