/**
 * What an optimizer remembers of a parameter, in the forms that save memory: moments in float32, in
 * bfloat16, or in 8 bits (blockwise dynamic codes, Dettmers et al. 2022; of the second moment the root, so
 * that small ones do not become zero); half-precision weights beside a float32 master, with the part that
 * rounding took (Kahan) or alone; all of it on the device or in the memory of the host. A step loads a
 * piece as float32 numbers and stores them again.
 */
import { empty, type Tensor } from "./ops.ts";
import { scope } from "./scope.ts";
import { tensor, type Device } from "./tensor.ts";

export interface StateForm {
  readonly moments: "float32" | "bfloat16" | "int8";
  /** Of weights in half precision; those in float32 need nothing beside them. */
  readonly masters: "float32" | "kahan" | "none";
  readonly place: "device" | "cpu";
}

export const wholeState: StateForm = { moments: "float32", masters: "float32", place: "device" };

/** Numbers that are kept between steps, flat. */
export interface Stored {
  /** By what is appended to the parameter's name. */
  readonly tensors: Readonly<Record<string, Tensor>>;
  /** Elements `start … start + count` in float32, on the device of the parameter. */
  load(start: number, count: number): Tensor;
  /** Keeps what became of them. */
  store(start: number, count: number, values: Tensor): void;
}

/** Pieces begin at multiples of this. */
export const BLOCK = 256;

/** Zeros, as many as a parameter has elements. */
export function storedMoment(parameter: Tensor, form: StateForm, kind: "mean" | "square"): Stored {
  const device = form.place === "cpu" ? "cpu" : parameter.device;
  if (form.moments === "int8") return new Codes(parameter, device, kind);
  const zeros = scope(() => empty([...parameter.shape], { dtype: form.moments, device }).zero_());
  return new Numbers({ [kind]: zeros.keep() }, kind, parameter.device);
}

/** The weights that a step changes. */
export function storedWeight(parameter: Tensor, form: StateForm): Stored {
  if (parameter.dtype === "float32") return new Own(parameter);
  const device = form.place === "cpu" ? "cpu" : parameter.device;
  switch (form.masters) {
    case "none":
      return new Own(parameter);
    case "kahan": {
      const { dtype } = parameter;
      const lost = scope(() => empty([...parameter.shape], { dtype, device }).zero_()).keep();
      return new Kahan(parameter, lost);
    }
    case "float32": {
      const master = scope(() => parameter.detach().to({ dtype: "float32", device, copy: true }));
      return new Master(parameter, master.keep());
    }
  }
}

function flat(values: Tensor, start: number, count: number): Tensor {
  return values.detach().view([-1]).narrow(0, start, count);
}

/** In place where nothing has to change. */
class Numbers implements Stored {
  readonly tensors: Readonly<Record<string, Tensor>>;
  readonly #values: Tensor;
  readonly #device: Device;

  constructor(tensors: Readonly<Record<string, Tensor>>, key: string, device: Device) {
    this.tensors = tensors;
    this.#values = tensors[key];
    this.#device = device;
  }

  load(start: number, count: number): Tensor {
    return flat(this.#values, start, count).to({ dtype: "float32", device: this.#device });
  }

  store(start: number, count: number, values: Tensor): void {
    const { dtype, device } = this.#values;
    if (dtype !== "float32" || device !== this.#device)
      flat(this.#values, start, count).copy_(values);
  }
}

class Own implements Stored {
  readonly tensors = {};
  readonly #parameter: Tensor;

  constructor(parameter: Tensor) {
    this.#parameter = parameter;
  }

  load(start: number, count: number): Tensor {
    return flat(this.#parameter, start, count).to("float32");
  }

  store(start: number, count: number, values: Tensor): void {
    if (this.#parameter.dtype !== "float32") flat(this.#parameter, start, count).copy_(values);
  }
}

class Master extends Numbers {
  readonly #parameter: Tensor;

  constructor(parameter: Tensor, master: Tensor) {
    super({ master }, "master", parameter.device);
    this.#parameter = parameter;
  }

  override store(start: number, count: number, values: Tensor): void {
    super.store(start, count, values);
    flat(this.#parameter, start, count).copy_(values);
  }
}

/** The weight is the sum of two numbers of half precision, of which the model reads the first. */
class Kahan implements Stored {
  readonly tensors: Readonly<Record<string, Tensor>>;
  readonly #parameter: Tensor;
  readonly #lost: Tensor;

  constructor(parameter: Tensor, lost: Tensor) {
    this.tensors = { lost };
    this.#parameter = parameter;
    this.#lost = lost;
  }

  load(start: number, count: number): Tensor {
    const { device } = this.#parameter;
    const lost = flat(this.#lost, start, count).to({ dtype: "float32", device });
    return flat(this.#parameter, start, count).to("float32").add_(lost);
  }

  store(start: number, count: number, values: Tensor): void {
    const own = flat(this.#parameter, start, count);
    own.copy_(values);
    flat(this.#lost, start, count).copy_(values.sub(own.to("float32")));
  }
}

/** A code of 8 bits an element and a float32 scale a block. */
class Codes implements Stored {
  readonly tensors: Readonly<Record<string, Tensor>>;
  readonly #codes: Tensor;
  readonly #scales: Tensor;
  readonly #device: Device;
  readonly #isSquare: boolean;

  constructor(parameter: Tensor, device: Device, kind: "mean" | "square") {
    const count = parameter.numel;
    this.#device = parameter.device;
    this.#isSquare = kind === "square";
    const numBlocks = Math.ceil(count / BLOCK);
    this.#codes = scope(() =>
      empty([count], { dtype: "uint8", device }).fill_(codesOf(this.#isSquare).indexOf(0)),
    ).keep();
    this.#scales = scope(() => empty([numBlocks], { dtype: "float32", device }).zero_()).keep();
    this.tensors = { [kind]: this.#codes, [`${kind}Scale`]: this.#scales };
  }

  load(start: number, count: number): Tensor {
    return scope(() => {
      const device = this.#device;
      const table = tensor(Float32Array.from(codesOf(this.#isSquare)), { device });
      const codes = this.#codes.narrow(0, start, count).to(device).to("int32");
      const values = this.#blocks(table.indexSelect(0, codes), count);
      codes.dispose();
      const scaled = values.mul_(this.#scalesAt(start, values.size(0)).to(device));
      const numbers = scaled.view([-1]).narrow(0, 0, count);
      return this.#isSquare ? numbers.mul(numbers) : numbers;
    });
  }

  store(start: number, count: number, values: Tensor): void {
    scope(() => {
      const device = this.#device;
      const blocks = this.#blocks(this.#isSquare ? values.sqrt() : values, count);
      const scales = scope(() => blocks.abs().amax([1], true));
      this.#scalesAt(start, blocks.size(0)).copy_(scales);
      const relative = blocks.div(scales.clampMin(1e-38));
      const table = codesOf(this.#isSquare);
      const middles = table.slice(1).map((code, i) => bound(table[i], code));
      const edges = tensor(Float32Array.from(middles), { device });
      const codes = relative.view([-1]).narrow(0, 0, count).bucketize(edges, { outInt32: true });
      this.#codes.narrow(0, start, count).copy_(codes);
    });
  }

  #scalesAt(start: number, numBlocks: number): Tensor {
    return this.#scales.narrow(0, start / BLOCK, numBlocks).unsqueeze(1);
  }

  /** Rows of a block each, the last one filled up with zeros. */
  #blocks(values: Tensor, count: number): Tensor {
    const missing = (BLOCK - (count % BLOCK)) % BLOCK;
    return (missing === 0 ? values : values.constantPadNd([0, missing], 0)).view([-1, BLOCK]);
  }
}

/** Between two codes. What is not zero does not become zero. */
function bound(low: number, high: number): number {
  if (low === 0) return 0;
  return high === 0 ? -SMALLEST : (low + high) / 2;
}

/** Above zero in float32. */
const SMALLEST = 2 ** -149;

const tables = new Map<boolean, number[]>();

/** 256 numbers from 0 to 1, or from -1 to 1: each decade has twice as many as the one below it. */
export function codesOf(isSquare: boolean): readonly number[] {
  let codes = tables.get(isSquare);
  if (codes !== undefined) return codes;
  codes = [0, 1];
  for (let decade = 0; decade < 7; decade++) {
    const count = 2 ** (decade + (isSquare ? 1 : 0));
    for (let i = 0; i < count; i++) {
      const value = 10 ** (decade - 6) * (0.1 + (0.9 * (i + 0.5)) / count);
      codes.push(value, ...(isSquare ? [] : [-value]));
    }
  }
  codes.sort((a, b) => a - b);
  tables.set(isSquare, codes);
  return codes;
}
