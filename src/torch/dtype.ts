/**
 * Element types by name, their libtorch numbers and byte sizes, and the typed array that holds each.
 */
import { VigorlError } from "../core/errors.ts";

export type DType =
  | "float32"
  | "float64"
  | "float16"
  | "bfloat16"
  | "int64"
  | "int32"
  | "int16"
  | "int8"
  | "uint8"
  | "bool";

/** `cpu`, `cuda` (the current CUDA device) or `cuda:N`. */
export type Device = "cpu" | "cuda" | `cuda:${number}`;

/** c10::ScalarType of each name. */
export const dtypeCodes: Record<DType, number> = {
  uint8: 0,
  int8: 1,
  int16: 2,
  int32: 3,
  int64: 4,
  float16: 5,
  float32: 6,
  float64: 7,
  bool: 11,
  bfloat16: 15,
};

export const dtypeBytes: Record<DType, number> = {
  uint8: 1,
  int8: 1,
  int16: 2,
  int32: 4,
  int64: 8,
  float16: 2,
  float32: 4,
  float64: 8,
  bool: 1,
  bfloat16: 2,
};

const dtypeNames = new Map(Object.entries(dtypeCodes).map(([name, code]) => [code, name as DType]));

/** The libtorch number of an optional dtype; undefined stays undefined. Throws on another name. */
export function dtypeCode(dtype: DType | undefined): number | undefined {
  if (dtype === undefined) return undefined;
  const code = dtypeCodes[dtype];
  if (code === undefined) {
    throw new VigorlError("usage", `no such dtype: ${dtype}`, {
      hint: `use one of ${Object.keys(dtypeCodes).join(", ")}`,
    });
  }
  return code;
}

export function dtypeName(code: number): DType {
  const name = dtypeNames.get(code);
  if (name === undefined) throw new Error(`dtype number ${code} has no name here`);
  return name;
}

export function isFloating(dtype: DType): boolean {
  return dtype === "float32" || dtype === "float64" || dtype === "bfloat16" || dtype === "float16";
}
