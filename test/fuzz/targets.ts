/** What is fuzzed; a new reader of other people's bytes gets a line here. */
import type { Target } from "./target.ts";
import { image } from "./targets/image.ts";
import { recipe } from "./targets/recipe.ts";
import { jsonl, parquet } from "./targets/records.ts";

export const targets: readonly Target[] = [jsonl, parquet, image, recipe];
