/**
 * Draws images ahead in threads of their own, so that scenes cost the training thread nothing. What is
 * drawn depends on seed and step alone; the threads change no result.
 */
import { isMainThread, parentPort, type Worker, workerData } from "node:worker_threads";
import { startWorker } from "../core/worker.ts";
import { sightAt, type Sight, type SightOptions } from "./sights.ts";
import { towerBatch, type TowerBatch } from "./tower-images.ts";

/** Which steps to draw for, and how many images (or sights) each. */
export interface Plan extends SightOptions {
  readonly seed: number;
  readonly batchSize: number;
  readonly firstStep: number;
  readonly lastStep: number;
}

/** What a kind of plan yields. */
interface Batches {
  readonly tower: TowerBatch;
  /** Sights step · batchSize … of the training split. */
  readonly sights: readonly Sight[];
}
type Kind = keyof Batches;

/** Batches of each thread waiting for the trainer at most. */
const ahead = 4;

/**
 * The batches of steps firstStep … lastStep - 1, in order, drawn by `threads` threads that take turns.
 */
export async function* prefetch<K extends Kind>(
  kind: K,
  plan: Plan,
  threads = 1,
): AsyncGenerator<Batches[K], void> {
  const { firstStep, lastStep } = plan;
  const count = Math.max(1, Math.min(threads, lastStep - firstStep));
  const drawers = Array.from(
    { length: count },
    (_, turn) =>
      new Drawer<Batches[K]>({
        kind,
        plan: { ...plan, firstStep: firstStep + turn },
        stride: count,
      }),
  );
  try {
    for (let step = firstStep; step < lastStep; step++)
      yield await drawers[(step - firstStep) % count].next();
  } finally {
    await Promise.all(drawers.map((drawer) => drawer.stop()));
  }
}

/** One thread and what it has drawn. */
class Drawer<T> {
  readonly #worker: Worker;
  readonly #ready: T[] = [];
  #wake: (() => void) | undefined;
  #failure: Error | undefined;

  constructor(nanoPrefetch: Order["nanoPrefetch"]) {
    this.#worker = startWorker("nano/prefetch", { nanoPrefetch });
    this.#worker.on("message", (batch: T) => {
      this.#ready.push(batch);
      this.#wake?.();
    });
    this.#worker.on("error", (error) => {
      this.#failure = error;
      this.#wake?.();
    });
  }

  async next(): Promise<T> {
    while (this.#ready.length === 0) {
      if (this.#failure) throw this.#failure;
      await new Promise<void>((resolve) => (this.#wake = resolve));
    }
    const [batch] = this.#ready.splice(0, 1);
    this.#worker.postMessage("more");
    return batch;
  }

  async stop(): Promise<void> {
    await this.#worker.terminate();
  }
}

interface Order {
  readonly nanoPrefetch: {
    readonly kind: Kind;
    readonly plan: Plan;
    /** From one step of the thread to its next. */
    readonly stride: number;
  };
}

function serve({ kind, plan, stride }: Order["nanoPrefetch"]): void {
  let step = plan.firstStep;
  const send = () => {
    if (step >= plan.lastStep) return;
    const at = step;
    step += stride;
    if (kind === "tower") {
      const batch = towerBatch(plan.seed, at, plan.batchSize);
      parentPort?.postMessage(batch, [batch.patches.buffer]);
      return;
    }
    const sights = Array.from({ length: plan.batchSize }, (_, i) =>
      sightAt("train", plan.seed, at * plan.batchSize + i, plan),
    );
    parentPort?.postMessage(sights);
  };
  for (let i = 0; i < ahead; i++) send();
  parentPort?.on("message", send);
}

const order: unknown = workerData;
if (!isMainThread && typeof order === "object" && order !== null && "nanoPrefetch" in order)
  serve((order as Order).nanoPrefetch);
