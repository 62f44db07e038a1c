/**
 * Whether operators of our own run on a GPU. They are tried out beside libtorch's before they are used: a
 * card on which they do not agree runs libtorch's, and a line on stderr says why.
 */
import type { Device, DType } from "./dtype.ts";
import { kernels } from "./kernels.ts";
import { native } from "./native.ts";
import { cat, zeros, type Tensor } from "./ops.ts";
import { noGrad, scope } from "./scope.ts";
import { tensor } from "./tensor.ts";

const faults = new Map<Device, string>();

/** Why operators of our own do not run on a GPU; empty where they do. */
export function gpuKernelsFault(device: Device): string {
  let fault = faults.get(device);
  if (fault === undefined) {
    fault = native.cudaKernels() || disagreement(device);
    faults.set(device, fault);
    if (fault !== "")
      process.stderr.write(`vigorl: libtorch's operators alone on ${device}: ${fault}\n`);
  }
  return fault;
}

/** Whether they take tensors of this kind, whose last dimension is in eights. */
export function hasGpuKernels({ dtype, device }: { dtype: DType; device: Device }): boolean {
  return dtype === "bfloat16" && device !== "cpu" && gpuKernelsFault(device) === "";
}

/** What bfloat16 rounds away. */
const TOLERANCE = 0.03;

function disagreement(device: Device): string {
  try {
    return noGrad(() =>
      scope(() => {
        for (const [name, attempt] of Object.entries(attempts)) {
          const [got, wanted] = attempt(device).map((value) => value.to("float32"));
          const most = got.sub(wanted).abs().max().item();
          if (!(most <= TOLERANCE)) return `${name} is off by ${most}`;
        }
        return "";
      }),
    );
  } catch (error) {
    return error instanceof Error ? error.message : String(error);
  }
}

/** By operator: what it gives, and what libtorch's operators give. */
const attempts: Readonly<Record<string, (device: Device) => [got: Tensor, wanted: Tensor]>> = {
  swiglu(device) {
    const x = waves([3, 32], device);
    const [gate, up] = x.chunk(2, -1);
    return [kernels.swiglu(x), gate.silu().mul(up)];
  },
  heads(device) {
    const qkv = waves([2, 3 * 8], device);
    const [queries, keys, values] = qkv.view([2, 3, 8]).unbind(1);
    const turned = [queries, keys].map((part) => {
      const [re, im] = part.unflatten(1, [4, 2]).unbind(2);
      return cat([im.neg().unsqueeze(2), re.unsqueeze(2)], 2).flatten(1);
    });
    const parts = kernels.headsFlat(qkv, quarterTurns(2, 4, device), 1, 1);
    return [cat(parts, 1).flatten(1), cat([...turned, values], 1)];
  },
  attendRows(device) {
    const [length, longest, size] = [600, 1024, 128];
    const cache = waves([longest, 2 * size], device);
    const qkv = waves([1, 4 * size], device);
    const int = (value: number, dtype: DType): Tensor => tensor([value], { dtype, device });
    const mixed = kernels.attendRows(
      qkv,
      { factors: quarterTurns(1, size / 2, device), turns: int(0, "int64") },
      { starts: int(0, "int32"), lengths: int(length, "int32") },
      cache,
      zeros([1], { dtype: "int32", device }),
      longest,
      [2, 1],
    );
    // Turned alike, queries and keys give the same products; old keys are turned back for that.
    const [re, im] = cache
      .narrow(0, 0, length)
      .narrow(1, 0, size)
      .unflatten(1, [size / 2, 2])
      .unbind(2);
    const keys = cat([im.unsqueeze(2), re.neg().unsqueeze(2)], 2).flatten(1);
    const values = cache.narrow(0, 0, length).narrow(1, size, size);
    const queries = qkv.view([4, size]).narrow(0, 0, 2);
    const weights = queries.matmul(keys.t()).div(Math.sqrt(size)).softmax(-1, "float32");
    return [mixed.view([2, size]), weights.to("bfloat16").matmul(values)];
  },
  drawTokens(device) {
    const logits = waves([2, 64], device);
    const requests = [0, 0.5, 0, 1, 0, 1, 0, 1, 1, 0];
    const asked = tensor(requests, { shape: [2, 5], dtype: "float64", device });
    const tokens = kernels.drawTokens(logits, asked).select(1, 0);
    const likeliest = logits.argmax(-1).to("float64");
    return [tokens, likeliest.mul(tensor([1, 0], { dtype: "float64", device }))];
  },
};

/** Values that repeat nowhere soon. */
function waves(shape: readonly number[], device: Device): Tensor {
  const count = shape.reduce((product, length) => product * length, 1);
  const values = Float32Array.from({ length: count }, (_, i) => Math.sin(i * i * 0.37 + i));
  return tensor(values, { shape, device }).to("bfloat16");
}

/** Complex factors i, [rows, pairs]. */
function quarterTurns(rows: number, pairs: number, device: Device): Tensor {
  const values = Float32Array.from({ length: 2 * rows * pairs }, (_, i) => i % 2);
  return tensor(values, { shape: [rows, pairs, 2], device }).viewAsComplex();
}
