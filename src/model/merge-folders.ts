/** A model folder and an adapter folder made one model folder. */
import type { DType } from "../torch/tensor.ts";
import { loadAdapter } from "./adapter-folder.ts";
import { mergeAdapter } from "./adapter.ts";
import { loadModelFolder, readModelConfig, saveModelFolder } from "./folder.ts";

/**
 * Writes the model of `base` with the adapter added to its weights, in the dtype in which they lie.
 * @throws VigorlError "input" where the two do not fit, or either is damaged
 */
export async function mergeFolders(
  base: string,
  adapterFolder: string,
  out: string,
): Promise<{ readonly layers: number; readonly dtype: DType }> {
  const { storedDtype: dtype } = await readModelConfig(base);
  const model = await loadModelFolder(base, { dtype });
  try {
    const adapter = await loadAdapter(model, adapterFolder);
    model.adapter = adapter;
    mergeAdapter(model, adapter);
    await saveModelFolder(model, out, { filesFrom: base });
    return { layers: adapter.ranks.size, dtype };
  } finally {
    model.dispose();
  }
}
