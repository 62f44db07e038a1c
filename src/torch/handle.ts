/**
 * The hand-written half of a tensor: its slot in the addon's table, cached facts, data out, gradients
 * and lifetime. The operators are generated on top of it (`ops.ts`). JavaScript's collector does not
 * see tensor memory, so every handle is noted in the open scope (`scope.ts`) and freed at its end.
 */
import { dtypeCode, dtypeName, type Device, type DType } from "./dtype.ts";
import { native } from "./native.ts";

/** What `toArray` gives: the typed array of the dtype; float16 and bfloat16 come as float32. */
export type TensorData =
  Float32Array | Float64Array | BigInt64Array | Int32Array | Int16Array | Int8Array | Uint8Array;

export type NestedNumbers = number | NestedNumbers[];

const toDtypeLayout = native.op("aten::to", "dtype_layout");

/** Handles made since the innermost open scope began; null outside scopes. */
let tracked: TensorHandle[] | null = null;

/** Makes `list` the place where new handles are noted and returns the one before it. */
export function track(list: TensorHandle[] | null): TensorHandle[] | null {
  const before = tracked;
  tracked = list;
  return before;
}

export class TensorHandle {
  /** Slot in the addon's table; 0 after `dispose`. */
  id: number;
  /** Set by `keep`: no scope frees this tensor. */
  kept = false;
  private cachedShape: readonly number[] | undefined = undefined;
  private cachedDtype: DType | undefined = undefined;

  constructor(id: number) {
    this.id = id;
    if (tracked !== null) tracked.push(this);
  }

  get shape(): readonly number[] {
    return (this.cachedShape ??= native.shape(this.id));
  }

  get dtype(): DType {
    return (this.cachedDtype ??= dtypeName(native.dtype(this.id)));
  }

  get device(): Device {
    return native.device(this.id) as Device;
  }

  get ndim(): number {
    return this.shape.length;
  }

  /** Number of elements. */
  get numel(): number {
    let count = 1;
    for (const size of this.shape) count *= size;
    return count;
  }

  get isDisposed(): boolean {
    return this.id === 0;
  }

  /** The size of dimension `dim`; negative counts from the end. */
  size(dim: number): number {
    const size = this.shape.at(dim);
    if (size === undefined) throw new RangeError(`dimension ${dim} of a ${this.describe()}`);
    return size;
  }

  isContiguous(): boolean {
    return native.isContiguous(this.id);
  }

  /** The one element as a number; booleans as 0 or 1. Throws when there are more, or beyond 2^53. */
  item(): number {
    return native.item(this.id);
  }

  /** Overwrites the elements of a contiguous tensor with raw little-endian bytes, row-major. */
  setBytes(data: ArrayBufferView): this {
    native.setBytes(this.id, data);
    return this;
  }

  /** Copies the elements, in the tensor's own dtype and row-major, into an array of as many bytes. */
  getBytes<T extends ArrayBufferView>(into: T): T {
    native.getBytes(this.id, into);
    return into;
  }

  /** A copy of the elements in row-major order. Waits for the device. */
  toArray(): TensorData {
    const { dtype } = this;
    if (dtype === "float16" || dtype === "bfloat16") {
      const wide = native.call(toDtypeLayout, this.id, dtypeCode("float32")) as number;
      const data = new Float32Array(native.toBytes(wide));
      native.release(wide);
      return data;
    }
    const bytes = native.toBytes(this.id);
    switch (dtype) {
      case "float32":
        return new Float32Array(bytes);
      case "float64":
        return new Float64Array(bytes);
      case "int64":
        return new BigInt64Array(bytes);
      case "int32":
        return new Int32Array(bytes);
      case "int16":
        return new Int16Array(bytes);
      case "int8":
        return new Int8Array(bytes);
      case "uint8":
      case "bool":
        return new Uint8Array(bytes);
    }
  }

  /** The raw little-endian bytes, row-major, in the tensor's own dtype. */
  toBytes(): Uint8Array {
    return new Uint8Array(native.toBytes(this.id));
  }

  /** All elements as numbers, flat, row-major. int64 beyond 2^53 loses precision. */
  toNumbers(): number[] {
    return Array.from(this.toArray() as Float64Array, Number);
  }

  /** All elements as nested arrays of the tensor's shape; a number for a tensor without dimensions. */
  tolist(): NestedNumbers {
    const flat = this.toNumbers();
    const { shape } = this;
    let at = 0;
    const nest = (dim: number): NestedNumbers =>
      dim === shape.length ? flat[at++]! : Array.from({ length: shape[dim]! }, () => nest(dim + 1));
    return nest(0);
  }

  /** Converts dtype and/or device. Gives the same elements back where nothing changes. */
  to(target: DType | Device | { dtype?: DType; device?: Device; copy?: boolean }): this {
    const { dtype, device, copy } =
      typeof target === "object"
        ? target
        : target.startsWith("cpu") || target.startsWith("cuda")
          ? { device: target as Device }
          : { dtype: target as DType };
    return this.make(
      native.call(
        toDtypeLayout,
        this.id,
        dtypeCode(dtype),
        undefined,
        device,
        undefined,
        false,
        copy ?? false,
      ) as number,
    );
  }

  get requiresGrad(): boolean {
    return native.requiresGrad(this.id);
  }

  /** Makes a leaf a parameter (or stops it being one) and returns it. */
  requiresGrad_(on = true): this {
    native.setRequiresGrad(this.id, on);
    return this;
  }

  get isLeaf(): boolean {
    return native.isLeaf(this.id);
  }

  /** The accumulated gradient as a new handle on the same memory, or null. */
  get grad(): this | null {
    const id = native.grad(this.id);
    return id === 0 ? null : this.make(id);
  }

  set grad(gradient: this | null) {
    native.setGrad(this.id, gradient === null ? null : gradient.id);
  }

  /** Drops the gradient. */
  zeroGrad(): void {
    native.setGrad(this.id, null);
  }

  /** Adds d(this)/d(leaf) to every leaf's `grad`; `gradient` is needed unless this is a scalar. */
  backward(gradient?: TensorHandle, options: { retainGraph?: boolean } = {}): void {
    native.backward([this.id], gradient === undefined ? [] : [gradient.id], options.retainGraph);
  }

  /** Frees the handle now. Memory goes when nothing else (a view, the autograd graph) needs it. */
  dispose(): void {
    if (this.id !== 0) native.release(this.id);
    this.id = 0;
  }

  /** Lets the tensor outlive all scopes; it must be disposed of by hand. */
  keep(): this {
    this.kept = true;
    return this;
  }

  /** `float32[2,3]`, for messages. */
  describe(): string {
    return this.id === 0 ? "disposed tensor" : `${this.dtype}[${this.shape.join(",")}]`;
  }

  protected make(id: number): this {
    return new (this.constructor as new (id: number) => this)(id);
  }
}

/** Adds the derivatives of several results, given those of what follows, to every leaf's `grad`. */
export function backwardFrom(
  results: readonly TensorHandle[],
  gradients: readonly TensorHandle[],
): void {
  native.backward(
    results.map(({ id }) => id),
    gradients.map(({ id }) => id),
  );
}
