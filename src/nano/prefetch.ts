/**
 * Draws images ahead in a thread of its own, so that scenes cost the training thread nothing. What is
 * drawn depends on seed and step alone; the thread changes no result.
 */
import { createRequire } from "node:module";
import { pathToFileURL } from "node:url";
import { isMainThread, parentPort, Worker, workerData } from "node:worker_threads";
import { sightAt, type Sight } from "./sights.ts";
import { towerBatch, type TowerBatch } from "./tower-images.ts";

/** Which steps to draw for, and how many images (or sights) each. */
export interface Plan {
  readonly seed: number;
  readonly batchSize: number;
  readonly firstStep: number;
  readonly lastStep: number;
  /** Share of sights whose things look alike; default 0. */
  readonly lookalikes?: number;
}

/** What a kind of plan yields. */
interface Batches {
  readonly tower: TowerBatch;
  /** Sights step · batchSize … of the training split. */
  readonly sights: readonly Sight[];
}
type Kind = keyof Batches;

/** Batches waiting for the trainer at most. */
const ahead = 4;

/** The batches of steps firstStep … lastStep - 1, in order. */
export async function* prefetch<K extends Kind>(
  kind: K,
  plan: Plan,
): AsyncGenerator<Batches[K], void> {
  const worker = startWorker({ nanoPrefetch: { kind, plan } });
  const ready: Batches[K][] = [];
  let wake: (() => void) | undefined;
  let failure: Error | undefined;
  worker.on("message", (batch: Batches[K]) => {
    ready.push(batch);
    wake?.();
  });
  worker.on("error", (error) => {
    failure = error;
    wake?.();
  });
  try {
    for (let step = plan.firstStep; step < plan.lastStep; step++) {
      while (ready.length === 0) {
        if (failure) throw failure;
        await new Promise<void>((resolve) => (wake = resolve));
      }
      const [batch] = ready.splice(0, 1);
      worker.postMessage("more");
      yield batch;
    }
  } finally {
    await worker.terminate();
  }
}

interface Order {
  readonly nanoPrefetch: { readonly kind: Kind; readonly plan: Plan };
}

/** Runs this file in a thread; from TypeScript sources the thread needs the loader first. */
function startWorker(workerData: Order): Worker {
  if (!import.meta.url.endsWith(".ts")) return new Worker(new URL(import.meta.url), { workerData });
  const tsx = pathToFileURL(createRequire(import.meta.url).resolve("tsx"));
  const loader = new URL("./esm/api/index.mjs", tsx).href;
  const code = `import("${loader}").then(({ register }) => { register(); return import("${import.meta.url}"); })`;
  return new Worker(code, { eval: true, workerData, execArgv: [] });
}

function serve({ kind, plan }: Order["nanoPrefetch"]): void {
  let step = plan.firstStep;
  const send = () => {
    if (step >= plan.lastStep) return;
    const at = step++;
    if (kind === "tower") {
      const batch = towerBatch(plan.seed, at, plan.batchSize);
      parentPort?.postMessage(batch, [batch.patches.buffer]);
      return;
    }
    const sights = Array.from({ length: plan.batchSize }, (_, i) =>
      sightAt("train", plan.seed, at * plan.batchSize + i, plan.lookalikes),
    );
    parentPort?.postMessage(sights);
  };
  for (let i = 0; i < ahead; i++) send();
  parentPort?.on("message", send);
}

const order: unknown = workerData;
if (!isMainThread && typeof order === "object" && order !== null && "nanoPrefetch" in order)
  serve((order as Order).nanoPrefetch);
