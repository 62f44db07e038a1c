/**
 * Makes batches ahead in a thread of its own, so that drawing scenes costs the training thread
 * nothing. A batch depends on its stage, seed and step alone; the thread changes no result.
 */
import { createRequire } from "node:module";
import { pathToFileURL } from "node:url";
import { isMainThread, parentPort, Worker, workerData } from "node:worker_threads";
import { towerBatch, type TowerBatch } from "./tower-images.ts";

interface Plan {
  readonly seed: number;
  readonly batchSize: number;
  readonly firstStep: number;
  readonly lastStep: number;
}

/** Batches waiting for the trainer at most. */
const ahead = 4;

/** The batches of steps firstStep … lastStep - 1, in order. */
export async function* prefetchTowerBatches(plan: Plan): AsyncGenerator<TowerBatch> {
  const worker = startWorker({ towerPlan: plan });
  const ready: TowerBatch[] = [];
  let wake: (() => void) | undefined;
  let failure: Error | undefined;
  worker.on("message", (batch: TowerBatch) => {
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
      const batch = ready.shift();
      if (batch === undefined) throw new Error("no batch");
      worker.postMessage("more");
      yield batch;
    }
  } finally {
    await worker.terminate();
  }
}

/** Runs this file in a thread; from TypeScript sources the thread needs the loader first. */
function startWorker(workerData: { towerPlan: Plan }): Worker {
  if (!import.meta.url.endsWith(".ts")) return new Worker(new URL(import.meta.url), { workerData });
  const tsx = pathToFileURL(createRequire(import.meta.url).resolve("tsx"));
  const loader = new URL("./esm/api/index.mjs", tsx).href;
  const code = `import("${loader}").then(({ register }) => { register(); return import("${import.meta.url}"); })`;
  return new Worker(code, { eval: true, workerData, execArgv: [] });
}

function serve(plan: Plan): void {
  let step = plan.firstStep;
  const send = () => {
    if (step >= plan.lastStep) return;
    const batch = towerBatch(plan.seed, step++, plan.batchSize);
    parentPort?.postMessage(batch, [batch.patches.buffer]);
  };
  for (let i = 0; i < ahead; i++) send();
  parentPort?.on("message", send);
}

const data: unknown = workerData;
if (!isMainThread && typeof data === "object" && data !== null && "towerPlan" in data)
  serve((data as { towerPlan: Plan }).towerPlan);
