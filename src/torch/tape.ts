/**
 * Operators recorded once and run again by one call each time, as a CUDA graph does it, on any device:
 * what it spares is the way from JavaScript to each operator, which for small tensors costs more than
 * their arithmetic.
 */
import { native } from "./native.ts";
import { Tensor } from "./ops.ts";

/**
 * The operators that `fn` calls. Tensors from outside `fn` are read as they are at each run, so inputs
 * change by `setBytes`; numbers, shapes and everything else that JavaScript decides stay as recorded.
 * `fn` is run by the recording too. Needs `noGrad` throughout; must be disposed of by hand.
 */
export class Tape {
  #index: number | null;

  constructor(fn: () => readonly Tensor[]) {
    native.tapeBegin();
    try {
      this.#index = native.tapeEnd(fn().map(({ id }) => id))!;
    } catch (error) {
      native.tapeEnd();
      throw error;
    }
  }

  /** Runs the operators and returns what `fn` returned, made anew. */
  run(): Tensor[] {
    if (this.#index === null) throw new Error("this tape was disposed of");
    return native.tapeRun(this.#index).map((id) => new Tensor(id));
  }

  dispose(): void {
    if (this.#index !== null) native.tapeFree(this.#index);
    this.#index = null;
  }
}
