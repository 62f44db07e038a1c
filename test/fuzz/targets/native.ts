/**
 * Calls of our own operators and of the addon's entries with shapes, dtypes and values that nobody
 * meant. What they may end in is an error of libtorch's kind; a signal is the fault that is looked for,
 * so the long run, in a child process, is the one that counts.
 */
import { VigorlError } from "../../../src/core/errors.ts";
import { stream, type Rng } from "../../../src/core/random.ts";
import { native, type Native, type NativeValue } from "../../../src/torch/native.ts";
import type { Target } from "../target.ts";

/** "t" is a tensor, "c" a complex one, "r" whole numbers, "l" a list of tensors, "n" a number. */
const operators: readonly (readonly [name: string, args: string])[] = [
  ["vigorl::rms_norm", "ttn"],
  ["vigorl::swiglu", "t"],
  ["vigorl::heads", "tcrnnn"],
  ["vigorl::take_rows", "tr"],
  ["vigorl::joined_linear", "tllnn"],
  ["vigorl::packed_linear", "tntnnb"],
  ["vigorl::attend_cached", "tctttrn"],
  ["vigorl::draw_tokens", "tt"],
];
const entries: readonly (keyof Native)[] = [
  "backward",
  "fromBytes",
  "setBytes",
  "getBytes",
  "hugePages",
  "toBytes",
  "item",
  "shape",
  "strides",
  "grad",
  "setGrad",
  "setRequiresGrad",
  "releaseMany",
  "rngState",
  "setRngState",
  "synchronize",
  "tapeRun",
  "tapeEnd",
  "take",
];
const sizes = [0, 0, 1, 1, 2, 3, 4, 16, 32, 33];
const numbers = [-1, 0, 0.5, 1, 2, 4, 16, 1000, 2 ** 31, 2 ** 53, 2 ** 62, NaN, Infinity];
const float32 = 6;
const float64 = 7;
const int64 = 4;
const complex64 = 9;

class Calls {
  private readonly random: Rng;
  private readonly made: number[] = [];

  constructor(random: Rng) {
    this.random = random;
  }

  /** A handle of a small tensor; its elements are small whole numbers. */
  tensor(dtype: number, bytes: number): number {
    const { random } = this;
    const shape = Array.from({ length: random.int(0, 5) }, () => random.pick(sizes));
    const count = shape.reduce((product, size) => product * size, 1);
    if (count > 1e5) return 0;
    const values = Array.from({ length: count }, () => random.int(-1, 4));
    const made =
      dtype === int64
        ? BigInt64Array.from(values.map(BigInt))
        : bytes === 8 && dtype === float64
          ? Float64Array.from(values)
          : new Float32Array((count * bytes) / 4).map((_, i) => values[i % count]);
    const id = native.fromBytes(made, shape, dtype);
    this.made.push(id);
    return id;
  }

  argument(kind: string): NativeValue {
    const { random } = this;
    if (random.chance(0.05)) return random.pick([null, undefined, -1, 0, 99999, "x", true, []]);
    if (kind === "t") return random.chance(0.5) ? this.tensor(float32, 4) : this.tensor(float64, 8);
    if (kind === "c") return this.tensor(complex64, 8);
    if (kind === "r") return random.chance(0.2) ? null : this.tensor(int64, 8);
    if (kind === "l") return [this.tensor(float32, 4), this.tensor(float32, 4)];
    return kind === "b" ? random.chance(0.5) : random.pick(numbers);
  }

  /** Of an entry that is not described: anything, a list with a getter that throws among it. */
  anything(): unknown {
    const { random } = this;
    const list = random.chance(0.5) ? [random.pick(sizes), random.pick(numbers)] : [1, 2];
    if (random.chance(0.3)) {
      Object.defineProperty(list, 1, {
        get: () => {
          throw new VigorlError("input", "a getter that throws");
        },
      });
    }
    const data = new Float32Array(random.pick(sizes));
    return random.pick([list, data, random.pick(numbers), this.tensor(float32, 4), "cpu", null]);
  }

  release(): void {
    for (const id of this.made) native.release(id);
  }
}

/** An input is the name of a case: what is called follows from its bytes as from a seed. */
export const nativeCall: Target = {
  name: "native",
  extension: ".json",
  input: (random) => Buffer.from(JSON.stringify(random.int(0, 2 ** 31 - 1))),
  run: async (_, input) => {
    await Promise.resolve();
    const random = stream(JSON.parse(Buffer.from(input).toString()) as number, "native");
    const calls = new Calls(random);
    try {
      if (random.chance(0.7)) {
        const [name, args] = random.pick(operators);
        native.call(native.op(name), ...Array.from(args, (kind) => calls.argument(kind)));
      } else {
        const entry = native[random.pick(entries)] as (...args: unknown[]) => unknown;
        entry(...Array.from({ length: random.int(0, 4) }, () => calls.anything()));
      }
    } catch (error) {
      if (!(error instanceof Error)) throw error;
    } finally {
      calls.release();
    }
  },
};
