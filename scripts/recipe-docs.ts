/**
 * Writes docs/recipes.md from the schemas, so that no key is documented twice:
 * `node --import tsx scripts/recipe-docs.ts`. A test fails when the page is not up to date.
 */
import { writeFileSync } from "node:fs";
import { recipePage } from "./recipe-page.ts";

writeFileSync(new URL("../docs/recipes.md", import.meta.url), await recipePage());
