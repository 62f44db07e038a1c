/**
 * Tensors from JavaScript data. The class and its operators are in the generated `ops.ts`; the way
 * back (`toArray`, `item`, …) is in `handle.ts`.
 */
import { VigorlError } from "../core/errors.ts";
import { dtypeCode, dtypeCodes, type Device, type DType } from "./dtype.ts";
import { native } from "./native.ts";
import { Tensor } from "./ops.ts";

export type { Device, DType } from "./dtype.ts";

export type NestedData = number | boolean | readonly NestedData[];

export type ArrayData =
  | Float32Array
  | Float64Array
  | BigInt64Array
  | Int32Array
  | Int16Array
  | Int8Array
  | Uint8Array
  | Uint16Array;

export interface TensorOptions {
  /**
   * Default: float32 for numbers, Float32Array and Float64Array; int64 for BigInt64Array and
   * Int32Array; uint8, int8 and int16 for theirs; bool for booleans. A Uint16Array holds the bits of
   * float16 or bfloat16 and needs the dtype said.
   */
  dtype?: DType;
  /** Default: the shape of nested arrays, one dimension for typed arrays. */
  shape?: readonly number[];
  device?: Device;
  requiresGrad?: boolean;
}

/** Copies `data` into a new tensor. Throws when the data do not fill `shape` or are ragged. */
export function tensor(data: NestedData | ArrayData, options: TensorOptions = {}): Tensor {
  const { array, shape, natural, wanted } = ArrayBuffer.isView(data)
    ? fromTyped(data as ArrayData, options.dtype)
    : fromNested(data as NestedData, options.dtype);
  const id = native.fromBytes(array, options.shape ?? shape, dtypeCodes[natural], options.device);
  let made = new Tensor(id);
  if (wanted !== natural) {
    const converted = made.to(wanted);
    made.dispose();
    made = converted;
  }
  return options.requiresGrad === true ? made.requiresGrad_() : made;
}

/** A tensor from raw little-endian bytes in row-major order, as safetensors stores them. */
export function tensorFromBytes(
  bytes: Uint8Array,
  shape: readonly number[],
  dtype: DType,
  device?: Device,
): Tensor {
  return new Tensor(native.fromBytes(bytes, shape, dtypeCode(dtype)!, device));
}

/**
 * A tensor on the CPU over the bytes of an open file, which has them: mapped, so that they are read when
 * they are first touched, and for as long as the tensor lives. Nothing is ever written to the file. Whoever
 * shortens it in place ends this process.
 * @param offset in bytes
 */
export function tensorFromFile(
  fd: number,
  offset: number,
  shape: readonly number[],
  dtype: DType,
): Tensor {
  return new Tensor(native.mapFile(fd, offset, shape, dtypeCodes[dtype]));
}

interface Flat {
  array: ArrayBufferView;
  shape: readonly number[];
  natural: DType; // what the array's elements are
  wanted: DType; // what the tensor is to hold
}

function fromTyped(array: ArrayData, dtype: DType | undefined): Flat {
  const shape = [array.length];
  if (array instanceof Uint16Array) {
    if (dtype !== "float16" && dtype !== "bfloat16") {
      throw new VigorlError("usage", "a Uint16Array holds bits: dtype must be float16 or bfloat16");
    }
    return { array, shape, natural: dtype, wanted: dtype };
  }
  if (array instanceof Uint8Array && dtype === "bool") {
    return { array: array.map((v) => (v === 0 ? 0 : 1)), shape, natural: "bool", wanted: "bool" };
  }
  const [natural, usual] = naturalDtype(array);
  return { array, shape, natural, wanted: dtype ?? usual };
}

/** The dtype of an array's elements, and the dtype a tensor made of it gets by default. */
function naturalDtype(array: Exclude<ArrayData, Uint16Array>): [DType, DType] {
  if (array instanceof Float32Array) return ["float32", "float32"];
  if (array instanceof Float64Array) return ["float64", "float32"];
  if (array instanceof BigInt64Array) return ["int64", "int64"];
  if (array instanceof Int32Array) return ["int32", "int64"];
  if (array instanceof Int16Array) return ["int16", "int16"];
  if (array instanceof Int8Array) return ["int8", "int8"];
  return ["uint8", "uint8"];
}

function fromNested(data: NestedData, dtype: DType | undefined): Flat {
  const shape: number[] = [];
  for (let level: NestedData = data; Array.isArray(level); level = level[0]) {
    shape.push(level.length);
    if (level.length === 0) break;
  }
  const flat: number[] = [];
  const isBoolean = flatten(data, shape, 0, flat);
  const usual = isBoolean && flat.length > 0 ? "bool" : "float32";
  // Doubles hold every integer up to 2^53 exactly, whatever the wanted dtype is.
  return { array: Float64Array.from(flat), shape, natural: "float64", wanted: dtype ?? usual };
}

/** Appends the elements of `data` to `out`; says whether all of them are booleans. */
function flatten(
  data: NestedData,
  shape: readonly number[],
  depth: number,
  out: number[],
): boolean {
  if (!Array.isArray(data)) {
    if (depth !== shape.length) throw ragged(shape);
    out.push(Number(data));
    return typeof data === "boolean";
  }
  if (depth >= shape.length || data.length !== shape[depth]) throw ragged(shape);
  let isBoolean = true;
  for (const element of data as readonly NestedData[]) {
    isBoolean = flatten(element, shape, depth + 1, out) && isBoolean;
  }
  return isBoolean;
}

function ragged(shape: readonly number[]): VigorlError {
  return new VigorlError(
    "usage",
    `nested data are not rectangular (expected [${shape.join(",")}])`,
  );
}
