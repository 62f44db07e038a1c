/**
 * Our own formats are strict: whatever key of whatever section is unknown, misspelt, of another type,
 * null or not finite is refused, and the message names it. The cases are made from a sound value and
 * its schema, so a new key is tried without being listed here.
 */
import { describe, expect, test } from "vitest";
import { z } from "zod";
import { VigorlError } from "../src/core/errors.ts";
import { parseAt } from "../src/core/jsonl.ts";
import { manifestSchema } from "../src/core/run-folder.ts";
import { baseRecipeSchema } from "../src/nano/base-recipe.ts";
import { recipeSchema } from "../src/recipe.ts";
import { chainLineSchema } from "../src/search/linearize.ts";
import { failureLineSchema } from "../src/search/run-search.ts";
import { recordLineSchema } from "../src/task/record.ts";
import { exampleLineSchema } from "../src/train/examples.ts";

const formats: Record<
  string,
  { schema: z.ZodType; sound: object; nullable?: readonly string[]; open?: readonly string[] }
> = {
  recipe: {
    schema: recipeSchema,
    sound: plain(recipeSchema.parse({})),
    nullable: ["dualClip"],
  },
  "base recipe": {
    schema: baseRecipeSchema,
    sound: plain(baseRecipeSchema.parse({})),
    open: ["mix"],
  },
  record: {
    schema: recordLineSchema,
    sound: {
      id: "a",
      images: ["a.png"],
      question: "?",
      kind: "choice",
      answer: "b",
      choices: ["b", "c"],
      evidence: [{ box: [1, 2, 3, 4] }],
      category: "x",
      source: "y",
    },
    nullable: ["images", "choices", "evidence", "category", "source"],
  },
  manifest: {
    schema: manifestSchema,
    sound: made(manifestSchema),
    nullable: ["gitCommit"],
    open: ["versions", "dataHashes", "recipe", "engine"],
  },
  chain: { schema: chainLineSchema, sound: made(chainLineSchema), nullable: ["category", "seen"] },
  failure: { schema: failureLineSchema, sound: made(failureLineSchema) },
  example: { schema: exampleLineSchema, sound: made(exampleLineSchema) },
};

/** Some value that a schema takes, every key of every section in it. */
function made(schema: z.ZodType): object {
  return sampleOf(schema) as object;
}

function sampleOf(schema: z.core.$ZodType): unknown {
  if (schema instanceof z.ZodObject)
    return Object.fromEntries(
      Object.entries(schema.shape as Record<string, z.core.$ZodType>).map(([key, entry]) => [
        key,
        sampleOf(entry),
      ]),
    );
  if (schema instanceof z.ZodArray) return [sampleOf(schema.element)];
  if (schema instanceof z.ZodTuple) return schema.def.items.map(sampleOf);
  if (schema instanceof z.ZodRecord) return { some: sampleOf(schema.valueType) };
  if (schema instanceof z.ZodUnion) return sampleOf(schema.options[0]);
  if (schema instanceof z.ZodEnum) return schema.options[0];
  if (schema instanceof z.ZodLiteral) return [...schema.values][0];
  if (schema instanceof z.ZodPipe)
    return sampleOf(schema.def.out instanceof z.ZodTransform ? schema.def.in : schema.def.out);
  if ("innerType" in schema._zod.def) return sampleOf(schema._zod.def.innerType as z.core.$ZodType);
  const simple: Record<string, unknown> = { string: "a", number: 1, int: 1, boolean: true };
  return simple[schema._zod.def.type] ?? {};
}

function plain(value: unknown): object {
  return JSON.parse(JSON.stringify(value)) as object;
}

type Path = readonly (string | number)[];

/** Every place in a value, sections and leaves. */
function* places(value: unknown, path: Path = []): Generator<{ path: Path; value: unknown }> {
  yield { path, value };
  if (typeof value !== "object" || value === null) return;
  for (const [key, entry] of Object.entries(value))
    yield* places(entry, [...path, Array.isArray(value) ? Number(key) : key]);
}

/** A copy with another value at a place. */
function put(value: unknown, [key, ...rest]: Path, entry: unknown): unknown {
  if (key === undefined) return entry;
  const copy: Record<string | number, unknown> | unknown[] = Array.isArray(value)
    ? [...(value as unknown[])]
    : { ...(value as object) };
  const inner = (copy as Record<string | number, unknown>)[key];
  (copy as Record<string | number, unknown>)[key] = put(inner, rest, entry);
  return copy;
}

function refusal(schema: z.ZodType, value: unknown): string | null {
  try {
    parseAt("here", value, schema);
    return null;
  } catch (error) {
    expect(error).toBeInstanceOf(VigorlError);
    return (error as VigorlError).message;
  }
}

describe.each(Object.entries(formats))("%s", (_, { schema, sound, nullable = [], open = [] }) => {
  /** In these sections keys are data, not names. */
  const isOpen = (path: Path) => open.includes(String(path.at(-1)));

  test("is sound", () => expect(refusal(schema, sound)).toBeNull());

  test("an unknown key is refused by name, in every section", () => {
    const passed: string[] = [];
    let tried = 0;
    for (const { path, value } of places(sound)) {
      if (typeof value !== "object" || value === null || Array.isArray(value) || isOpen(path))
        continue;
      for (const key of ["zzUnknown", "__proto__x", "constructor"]) {
        tried++;
        const message = refusal(schema, put(sound, path, { ...value, [key]: 1 }));
        if (message?.includes(key) !== true) passed.push([...path, key].join("."));
      }
    }
    expect(passed).toEqual([]);
    expect(tried).toBeGreaterThan(0);
  });

  test("another type, null and what is not finite are refused", () => {
    const passed: string[] = [];
    for (const { path, value } of places(sound)) {
      const key = path.at(-1);
      if (typeof key !== "string" || isOpen(path) || isOpen(path.slice(0, -1))) continue;
      const odd: unknown[] = [{ zz: 1 }, [[["zz"]]]];
      if (typeof value === "number") odd.push("zz", NaN, Infinity, true);
      if (typeof value === "boolean") odd.push("zz", 7);
      if (typeof value === "string") odd.push(true);
      if (typeof value === "string" && value !== "auto") odd.push(7);
      if (value !== null && !nullable.includes(key)) odd.push(null);
      for (const entry of odd)
        if (refusal(schema, put(sound, path, entry)) === null)
          passed.push(`${path.join(".")} = ${String(JSON.stringify(entry))}`);
    }
    expect(passed).toEqual([]);
  });

  test("a huge number ends in a value or a refusal", () => {
    const numbers = [...places(sound)].filter(({ value }) => typeof value === "number");
    const ends = numbers.flatMap(({ path }) =>
      [1e308, -1e308, 2 ** 53, 1e21].map((huge) => refusal(schema, put(sound, path, huge))),
    );
    expect(ends).toHaveLength(4 * numbers.length);
  });
});
