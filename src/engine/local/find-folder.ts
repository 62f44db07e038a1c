/**
 * Looks for a model folder before a run is begun, so that a wrong path is told at once and leaves no run
 * folder behind. What the files say is read after that, by whoever needs it.
 */
import { existsSync, statSync } from "node:fs";
import { join } from "node:path";
import { VigorlError } from "../../core/errors.ts";
import { findPath } from "../../core/paths.ts";
import { hasTokenizer } from "../../text/tokenizer.ts";

/** Finds a model folder and what must be in it. @throws VigorlError("input") naming file and fix. */
export function findModelFolder(path: string): string {
  const folder = findPath(path);
  if (!existsSync(folder)) {
    throw new VigorlError("input", `${folder}: no such model folder`, {
      hint: "name a folder with config.json, *.safetensors and tokenizer.json; models/nano comes with vigorl",
    });
  }
  if (!statSync(folder).isDirectory()) {
    throw new VigorlError("input", `${folder}: is a file, not a model folder`, {
      hint: "name the folder that holds it",
    });
  }
  for (const [file, what] of needed) {
    if (existsSync(join(folder, file))) continue;
    throw new VigorlError("input", `${join(folder, file)}: missing (${what})`, {
      hint: "copy it from where the model was published; a model folder is a Hugging Face folder",
    });
  }
  if (!hasTokenizer(folder)) {
    throw new VigorlError("input", `${join(folder, "tokenizer.json")}: missing (the tokenizer)`, {
      hint: "copy it, or vocab.json and merges.txt, from where the model was published",
    });
  }
  return folder;
}

const needed: [file: string, what: string][] = [
  ["config.json", "the model's configuration"],
  ["tokenizer_config.json", "the tokenizer's configuration"],
];
