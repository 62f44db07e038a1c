/**
 * Starts one of our modules in a thread of its own: JavaScript of a build, or TypeScript of a checkout,
 * for which the thread registers the loader first, whichever tool loaded the caller.
 */
import { pathToFileURL } from "node:url";
import { Worker, type ResourceLimits } from "node:worker_threads";
import { fromSources, ownPath } from "./paths.ts";

/** `module` is a path below src/ without its ending, as in `engine/local/worker`. */
export function startWorker(
  module: string,
  workerData: unknown,
  resourceLimits: ResourceLimits = {},
): Worker {
  const options = { workerData, resourceLimits };
  if (!fromSources) return new Worker(ownPath(`dist/${module}.js`), options);
  const loader = pathToFileURL(ownPath("node_modules/tsx/dist/esm/api/index.mjs")).href;
  const file = pathToFileURL(ownPath(`src/${module}.ts`)).href;
  const code = `import("${loader}").then(({ register }) => { register(); return import("${file}"); })`;
  return new Worker(code, { eval: true, execArgv: [], ...options });
}
