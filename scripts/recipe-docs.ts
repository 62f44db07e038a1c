/**
 * Writes docs/recipes.md from the schemas and docs/metrics.md from the table of metrics, so that
 * nothing is documented twice:
 * `node --import tsx scripts/recipe-docs.ts`. A test fails when a page is not up to date.
 */
import { writeFileSync } from "node:fs";
import { metricPage } from "./metric-page.ts";
import { recipePage } from "./recipe-page.ts";

writeFileSync(new URL("../docs/recipes.md", import.meta.url), await recipePage());
writeFileSync(new URL("../docs/metrics.md", import.meta.url), await metricPage());
