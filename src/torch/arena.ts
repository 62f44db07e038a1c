/**
 * One block of memory for many tensors. What is read again and again in one order is read faster from
 * one block: the processor has fewer pages to look up, above all where the system gives it large ones.
 */
import { native } from "./native.ts";
import { empty, Tensor, zeros } from "./ops.ts";
import { noGrad, scope } from "./scope.ts";
import { dtypeBytes, dtypeCodes, type Device, type DType } from "./dtype.ts";

/** Bytes. */
const HUGE_PAGE = 2 ** 21;

interface BlockOptions {
  readonly dtype: DType;
  readonly device: Device;
}

/** A block for tensors of these shapes, not filled with anything. Kept. */
export function allocateBlock(
  shapes: readonly (readonly number[])[],
  options: BlockOptions,
): Tensor {
  return blockOf(shapes, options, "huge", (size) => empty([size], options));
}

/**
 * A block of zeros, which on a CPU takes memory page by page as it is written to. Kept.
 * @param pages of the usual size take little where little is written here and there
 */
export function allocateZeros(
  shapes: readonly (readonly number[])[],
  options: BlockOptions,
  pages: "huge" | "usual",
): Tensor {
  return blockOf(shapes, options, pages, (size) =>
    options.device === "cpu" ? zeroPages([size], options.dtype) : zeros([size], options),
  );
}

/**
 * Zeros on the CPU in pages of their own, which take memory as they are written to and are the system's again
 * when the tensor goes; what an allocator hands out it keeps for the next who asks.
 */
export function zeroPages(shape: readonly number[], dtype: DType): Tensor {
  return new Tensor(native.zeroPages(shape, dtypeCodes[dtype]));
}

function blockOf(
  shapes: readonly (readonly number[])[],
  options: BlockOptions,
  kind: "huge" | "usual",
  allocate: (size: number) => Tensor,
): Tensor {
  const size = shapes.reduce((sum, shape) => sum + sizeOf(shape), 0);
  const perPage = HUGE_PAGE / dtypeBytes[options.dtype];
  // Room to begin at a page and to end with one.
  const pages = kind === "usual" || size < perPage / 2 ? 0 : Math.ceil(size / perPage) + 1;
  return noGrad(() =>
    scope(() => {
      const raw = allocate(Math.max(size, pages * perPage));
      const before = pages === 0 ? 0 : native.hugePages(raw.id, HUGE_PAGE);
      return raw.narrow(0, before / dtypeBytes[options.dtype], size).keep();
    }),
  );
}

/** The tensors of these shapes that lie one after another in a block. Kept. */
export function divideBlock(block: Tensor, shapes: readonly (readonly number[])[]): Tensor[] {
  return noGrad(() =>
    scope(() =>
      block.splitWithSizes(shapes.map(sizeOf), 0).map((part, i) => part.view(shapes[i]).keep()),
    ),
  );
}

function sizeOf(shape: readonly number[]): number {
  return shape.reduce((size, length) => size * length, 1);
}
