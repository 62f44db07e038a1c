/** What is fuzzed; a new reader of other people's bytes gets a line here. */
import type { Target } from "./target.ts";
import { http } from "./targets/http.ts";
import { image } from "./targets/image.ts";
import { modelFolder, safetensors } from "./targets/model.ts";
import { nativeCall } from "./targets/native.ts";
import { recipe } from "./targets/recipe.ts";
import { jsonl, parquet } from "./targets/records.ts";
import { run } from "./targets/runs.ts";
import { turn } from "./targets/turn.ts";

export const targets: readonly Target[] = [
  jsonl,
  parquet,
  image,
  recipe,
  run,
  safetensors,
  modelFolder,
  turn,
  nativeCall,
  http,
];
