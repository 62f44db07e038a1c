import { readdirSync, readFileSync } from "node:fs";
import { join, sep } from "node:path";
import { fileURLToPath } from "node:url";
import { expect, it } from "vitest";
import { families, familyOf } from "./table.ts";

const source = fileURLToPath(new URL("../..", import.meta.url));

it("holds each family once", () => {
  expect(new Set(families.map(({ modelType }) => modelType)).size).toBe(families.length);
  for (const family of families) expect(familyOf(family.modelType, "c")).toBe(family);
});

it("says which there are where one is unknown", () => {
  expect(() => familyOf("llava", "config.json")).toThrow(/config\.json: model_type is "llava"/);
});

it("is the only place of src that names a family", () => {
  const names = families.flatMap(({ modelType, architecture, processor }) => [
    modelType,
    architecture,
    processor,
    modelType.replaceAll("_", ""),
  ]);
  // The image processor of the first family is that of all of them, and is cited where it is written.
  const pattern = new RegExp(`(${names.join("|")})(?!ImageProcessor)`, "i");
  const files = readdirSync(source, { recursive: true, encoding: "utf8" }).filter(
    (file) =>
      file.endsWith(".ts") &&
      !file.endsWith(".test.ts") &&
      !file.includes(`fixtures${sep}`) &&
      !file.startsWith(join("model", "families")),
  );
  expect(files.length).toBeGreaterThan(100);
  expect(files.filter((file) => pattern.test(readFileSync(join(source, file), "utf8")))).toEqual(
    [],
  );
});
