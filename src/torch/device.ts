/**
 * Threads, seeds, devices, and the facts that `vigorl doctor` and run manifests record.
 */
import { readFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { z } from "zod";
import { VigorlError } from "../core/errors.ts";
import { addonPath } from "./addon.ts";
import type { Device } from "./dtype.ts";
import { native } from "./native.ts";
import { Tensor } from "./ops.ts";

export interface CudaMemory {
  allocatedBytes: number;
  reservedBytes: number;
  peakBytes: number;
  freeBytes: number;
  totalBytes: number;
}

export interface TorchFacts {
  version: string;
  /** Where set-up found it: env, python, venv or system. */
  source: string;
  root: string;
  blas: string;
  threads: number;
  cudaDevices: number;
  /** `on`; `none` without CUDA's headers; else why they are left out. */
  cudaGraphs: string;
}

const buildRecord = z.object({ source: z.string(), root: z.string(), cudaGraphs: z.string() });

export function torchVersion(): string {
  return native.version();
}

export function cudaAvailable(): boolean {
  return native.cudaCount() > 0;
}

export function cudaDeviceCount(): number {
  return native.cudaCount();
}

/** Turns `auto` into `cuda:0` where there is one, else `cpu`. Throws when a named device is absent. */
export function resolveDevice(wanted: string): Device {
  if (wanted === "auto") return cudaAvailable() ? "cuda:0" : "cpu";
  if (wanted === "cpu") return "cpu";
  const match = /^cuda(?::(\d+))?$/.exec(wanted);
  if (match === null) {
    throw new VigorlError("usage", `no such device: ${wanted}`, {
      hint: "use auto, cpu, cuda or cuda:N",
    });
  }
  const index = Number(match[1] ?? 0);
  if (index >= cudaDeviceCount()) {
    throw new VigorlError("missing", `${wanted}: libtorch sees ${cudaDeviceCount()} CUDA devices`, {
      hint: "install a CUDA build of torch for python3, or use cpu",
    });
  }
  return `cuda:${index}`;
}

/** Memory of a CUDA device, or null where there is none or this libtorch cannot tell. */
export function cudaMemory(index = 0): CudaMemory | null {
  const numbers = native.cudaMemory(index);
  if (numbers === null) return null;
  const [allocatedBytes, reservedBytes, peakBytes, freeBytes, totalBytes] = numbers as [
    number,
    number,
    number,
    number,
    number,
  ];
  return { allocatedBytes, reservedBytes, peakBytes, freeBytes, totalBytes };
}

/** Waits for everything asked of a CUDA device. Does nothing without one. */
export function synchronize(index = 0): void {
  native.synchronize(index);
}

/** Lets `peakBytes` count from now on. Does nothing without a CUDA device. */
export function resetPeakMemory(index = 0): void {
  native.resetPeak(index);
}

/** Gives cached CUDA memory back to the driver. */
export function emptyCache(): void {
  native.emptyCache();
}

export function numThreads(): number {
  return native.numThreads();
}

/** Threads per operator. Belongs to the calling thread: a worker sets its own. */
export function setNumThreads(count: number): void {
  native.setNumThreads(count);
}

/** Seeds libtorch's default generators (one per device, shared by all threads of the process). */
export function manualSeed(seed: number): void {
  native.manualSeed(seed);
}

/** State of a default generator, for exact resume. */
export function rngState(device: Device = "cpu"): Tensor {
  return new Tensor(native.rngState(device));
}

export function setRngState(state: Tensor, device: Device = "cpu"): void {
  native.setRngState(state.id, device);
}

/** Asks libtorch for kernels whose sums do not depend on timing; it warns where it has none. */
export function setDeterministic(on: boolean): void {
  native.setDeterministic(on);
}

/** Whether float32 matrix products on CUDA may use TF32 (off by default). */
export function setTf32(on: boolean): void {
  native.setTf32(on);
}

/** What doctor and manifests say about the tensor engine. */
export function torchFacts(): TorchFacts {
  const path = join(dirname(addonPath()), "libtorch.json");
  const record = buildRecord.parse(JSON.parse(readFileSync(path, "utf8")));
  return {
    version: native.version(),
    source: record.source,
    root: record.root,
    blas: blasName(native.parallelInfo() + native.buildInfo()),
    threads: native.numThreads(),
    cudaDevices: native.cudaCount(),
    cudaGraphs: record.cudaGraphs,
  };
}

function blasName(text: string): string {
  return (
    /oneAPI Math Kernel Library Version [\d.]+|Math Kernel Library Version [\d.]+|BLAS_INFO=\w+|Eigen|OpenBLAS/i
      .exec(text)?.[0]
      ?.replace("BLAS_INFO=", "") ?? "unknown"
  );
}
