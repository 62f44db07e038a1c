/** `vigorl merge`: an adapter added to the weights of its model, as a model folder that opens anywhere. */
import { existsSync } from "node:fs";
import { resolve } from "node:path";
import { Command } from "commander";
import { VigorlError } from "../core/errors.ts";
import { findPath } from "../core/paths.ts";
import { textOf, type Verb } from "./frame.ts";

export function mergeVerb(): Verb {
  return {
    command: new Command("merge")
      .description("add a LoRA adapter to the weights of its model")
      .argument("<adapter>", "an adapter's folder, or that of the run that trained it")
      .requiredOption("--out <folder>", "where the merged model goes; must not exist yet")
      .option("--model <folder>", "the adapter's base; default the one that it names"),
    run: async (_, [path = ""], options) => {
      const { modelOf } = await import("../run-weights.ts");
      const { baseOf, isAdapterFolder } = await import("../model/adapter-config.ts");
      const adapter = await modelOf(findPath(path));
      if (!isAdapterFolder(adapter))
        throw new VigorlError("input", `${adapter}: is no folder of an adapter`, {
          hint: "name a folder with adapter_config.json, as training with a lora section leaves it",
        });
      const out = resolve(String(options.out));
      if (existsSync(out))
        throw new VigorlError("usage", `--out ${out}: is there already`, { hint: "name another" });
      const named = textOf(options.model);
      const base = named === undefined ? baseOf(adapter) : findPath(named);
      const { prepareAddon } = await import("../torch/addon.ts");
      await prepareAddon();
      const { mergeFolders } = await import("../model/merge-folders.ts");
      const { layers, dtype } = await mergeFolders(base, adapter, out);
      return {
        json: { folder: out, base, adapter, layers, dtype },
        text: `${layers} layers of ${base} merged, in ${dtype}\n${out}`,
      };
    },
  };
}
