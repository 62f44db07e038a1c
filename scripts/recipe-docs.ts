/**
 * Writes docs/recipes.md and recipes/recipe.schema.json (for editors) from the schemas and
 * docs/metrics.md and docs/benchmarks.md from their tables, and the sizes in docs/models.md, so that nothing is documented twice:
 * `node --import tsx scripts/recipe-docs.ts`. A test fails when a page is not up to date.
 */
import { readFileSync, writeFileSync } from "node:fs";
import { recipeJsonSchema } from "../src/recipe-schema.ts";
import { benchmarkPage } from "./benchmark-page.ts";
import { metricPage } from "./metric-page.ts";
import { withSizes } from "./model-sizes.ts";
import { recipePage } from "./recipe-page.ts";

writeFileSync(new URL("../docs/recipes.md", import.meta.url), await recipePage());
const schema = `${JSON.stringify(recipeJsonSchema(), null, 1)}\n`;
writeFileSync(new URL("../recipes/recipe.schema.json", import.meta.url), schema);
writeFileSync(new URL("../docs/metrics.md", import.meta.url), await metricPage());
writeFileSync(new URL("../docs/benchmarks.md", import.meta.url), await benchmarkPage());
const models = new URL("../docs/models.md", import.meta.url);
writeFileSync(models, withSizes(readFileSync(models, "utf8")));
