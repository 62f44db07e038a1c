/**
 * Lifetimes. JavaScript's collector cannot see tensor memory, so tensors live in scopes: what is made
 * inside and neither returned nor kept is freed at the end. Scopes are synchronous by construction:
 * two interleaved ones could not tell whose tensor is whose.
 */
import { TensorHandle, track } from "./handle.ts";
import { native } from "./native.ts";

/**
 * Runs `fn` and frees every tensor made meanwhile, except those in its result (a tensor, or arrays,
 * Maps and plain objects of them) and those kept. What survives belongs to the scope around. Frees
 * everything when `fn` throws. Throws when `fn` returns a promise.
 */
export function scope<T>(fn: () => T): T {
  const made: TensorHandle[] = [];
  const outer = track(made);
  let survivors: Set<TensorHandle> | null = null;
  try {
    const result = fn();
    if (isPromise(result)) {
      result.then(undefined, () => undefined);
      throw new Error("scope: the function must not be async, tensors cannot outlive an await");
    }
    survivors = new Set();
    collect(result, survivors, 0);
    return result;
  } finally {
    track(outer);
    free(made, survivors, outer);
  }
}

/** Runs `fn` without recording operators for autograd. Throws when `fn` returns a promise. */
export function noGrad<T>(fn: () => T): T {
  return withGradMode(false, fn);
}

/** Runs `fn` with recording on, for a part inside `noGrad`. */
export function enableGrad<T>(fn: () => T): T {
  return withGradMode(true, fn);
}

/** Number of tensors of this thread that have not been freed. */
export function liveTensors(): number {
  return native.liveCount();
}

/** Bytes of the distinct memory blocks behind this thread's tensors. */
export function liveBytes(): number {
  return native.liveBytes();
}

function withGradMode<T>(on: boolean, fn: () => T): T {
  const before = native.gradEnabled();
  native.setGradEnabled(on);
  try {
    const result = fn();
    if (isPromise(result)) {
      result.then(undefined, () => undefined);
      throw new Error("noGrad: the function must not be async, grad mode belongs to the thread");
    }
    return result;
  } finally {
    native.setGradEnabled(before);
  }
}

function isPromise(value: unknown): value is Promise<unknown> {
  return (
    typeof value === "object" &&
    value !== null &&
    "then" in value &&
    typeof value.then === "function"
  );
}

/** Finds the tensors in a result: arrays, Maps, Sets and plain objects, a few levels deep. */
function collect(value: unknown, found: Set<TensorHandle>, depth: number): void {
  if (typeof value !== "object" || value === null || depth > 8) return;
  if (value instanceof TensorHandle) {
    found.add(value);
  } else if (Array.isArray(value) || value instanceof Set) {
    for (const element of value) collect(element, found, depth + 1);
  } else if (value instanceof Map) {
    for (const element of value.values()) collect(element, found, depth + 1);
  } else if (!ArrayBuffer.isView(value)) {
    for (const element of Object.values(value)) collect(element, found, depth + 1);
  }
}

let buffer = new Int32Array(1024);

function free(
  made: readonly TensorHandle[],
  survivors: ReadonlySet<TensorHandle> | null,
  outer: TensorHandle[] | null,
): void {
  if (buffer.length < made.length) buffer = new Int32Array(made.length * 2);
  let count = 0;
  for (const handle of made) {
    if (handle.id === 0 || handle.kept) continue;
    if (survivors !== null && survivors.has(handle)) {
      outer?.push(handle);
      continue;
    }
    buffer[count++] = handle.id;
    handle.id = 0;
  }
  native.releaseMany(buffer, count);
}
