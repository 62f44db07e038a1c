/**
 * Loads the addon and states its functions' types. Tensors are integer handles here; `handle.ts` and
 * the generated `ops.ts` put the readable face on. Nothing but src/torch imports this file, apart
 * from `hasOp`.
 */
import { dirname } from "node:path";
import { VigorlError } from "../core/errors.ts";
import { ownRequire } from "../core/paths.ts";
import { addonPath } from "./addon.ts";

/** What an operator takes and gives at the border: handles, numbers, strings and lists of them. */
export type NativeValue =
  number | boolean | string | bigint | null | undefined | readonly (number | boolean | null)[];

export interface Native {
  /** Index of an operator for `call` and `run`; one that libtorch lacks throws when called. */
  op(name: string, overload?: string): number;
  call(op: number, ...args: NativeValue[]): unknown;
  run(op: number, ...args: NativeValue[]): void;
  hasOp(name: string, overload?: string): boolean;
  schema(name: string, overload?: string): string | null;

  fromBytes(
    data: ArrayBufferView,
    shape: readonly number[],
    dtype: number,
    device?: string,
  ): number;
  mapFile(fd: number, offset: number, shape: readonly number[], dtype: number): number;
  zeroPages(shape: readonly number[], dtype: number): number;
  setBytes(id: number, data: ArrayBufferView): void;
  getBytes(id: number, into: ArrayBufferView): void;
  hugePages(id: number, size: number): number;
  toBytes(id: number): ArrayBuffer;
  item(id: number): number;
  shape(id: number): number[];
  strides(id: number): number[];
  dtype(id: number): number;
  device(id: number): string;
  isContiguous(id: number): boolean;
  release(id: number): void;
  releaseMany(ids: Int32Array, count: number): void;
  liveCount(): number;
  liveBytes(): number;

  tapeBegin(): void;
  tapeEnd(outputs?: readonly number[]): number | undefined;
  tapeRun(tape: number): number[];
  tapeFree(tape: number): void;

  offer(id: number, uses: number): number;
  take(number: number): number;

  backward(roots: readonly number[], gradients?: readonly number[], retainGraph?: boolean): void;
  grad(id: number): number;
  setGrad(id: number, gradient: number | null): void;
  requiresGrad(id: number): boolean;
  setRequiresGrad(id: number, on: boolean): void;
  isLeaf(id: number): boolean;
  gradEnabled(): boolean;
  setGradEnabled(on: boolean): void;

  version(): string;
  numThreads(): number;
  setNumThreads(count: number): void;
  parallelInfo(): string;
  buildInfo(): string;
  manualSeed(seed: number): void;
  rngState(device?: string): number;
  setRngState(id: number, device?: string): void;
  cudaCount(): number;
  synchronize(index: number): void;
  cudaMemory(index: number): number[] | null;
  resetPeak(index: number): void;
  cudaKernels(): string;
  emptyCache(): void;
  setDeterministic(on: boolean): void;
  setTf32(on: boolean): void;
}

/** The addon of this thread. Importing this file throws VigorlError("missing") when it cannot be had. */
export const native: Native = loadAddon();

/** Whether this libtorch has an operator, for example `hasOp("aten::rms_norm")`. */
export function hasOp(name: string, overload = ""): boolean {
  return native.hasOp(name, overload);
}

function loadAddon(): Native {
  const path = addonPath();
  try {
    return ownRequire()(path) as Native;
  } catch (cause) {
    const reason = cause instanceof Error ? cause.message.split("\n")[0] : String(cause);
    throw new VigorlError("missing", `the libtorch addon cannot be loaded: ${reason}`, {
      hint: `unset VIGORL_ADDON, or remove ${dirname(path)}: it is made again at the next start`,
      cause,
    });
  }
}
