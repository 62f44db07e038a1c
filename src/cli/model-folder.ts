/**
 * Looks at a model folder before a run is begun, so that a wrong path is told at once and plainly;
 * the rooms that read the files check their contents.
 */
import { existsSync, statSync } from "node:fs";
import { join } from "node:path";
import { VigorlError } from "../core/errors.ts";

/** @throws VigorlError("input") naming the first thing that is missing, with its fix. */
export function checkModelFolder(folder: string): void {
  if (!existsSync(folder)) {
    throw new VigorlError("input", `${folder}: no such model folder`, {
      hint: "name a folder with config.json, *.safetensors and tokenizer.json; models/nano comes with vigorl",
    });
  }
  if (!statSync(folder).isDirectory()) {
    throw new VigorlError("input", `${folder}: is a file, not a model folder`, {
      hint: `name the folder that holds it`,
    });
  }
  const needed: [file: string, what: string][] = [
    ["config.json", "the model's configuration"],
    ["tokenizer.json", "the tokenizer"],
    ["tokenizer_config.json", "the tokenizer's configuration"],
    ["preprocessor_config.json", "the image preprocessor's configuration"],
  ];
  for (const [file, what] of needed) {
    if (existsSync(join(folder, file))) continue;
    throw new VigorlError("input", `${join(folder, file)}: missing (${what})`, {
      hint: "copy it from where the model was published; a model folder is a Hugging Face folder",
    });
  }
  const weights = ["model.safetensors", "model.safetensors.index.json"];
  if (!weights.some((file) => existsSync(join(folder, file)))) {
    throw new VigorlError("input", `${folder}: holds no weights (${weights.join(" or ")})`, {
      hint: "download them, or train them (./vigorl base recipes/nano-base.yaml)",
    });
  }
}
