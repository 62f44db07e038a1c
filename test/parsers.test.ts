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

const chain = {
  version: 1,
  id: "a#0",
  recordId: "a",
  question: "?",
  category: null,
  kind: "direct",
  turns: ["x"],
  answer: "7",
  places: [[1, 2]],
  crops: [],
  detours: [{ turn: 0, start: 0, end: 1 }],
};
const formats: Record<string, { schema: z.ZodType; sound: object; nullable?: readonly string[] }> =
  {
    recipe: {
      schema: recipeSchema,
      sound: plain(recipeSchema.parse({})),
      nullable: ["dualClip"],
    },
    "base recipe": { schema: baseRecipeSchema, sound: plain(baseRecipeSchema.parse({})) },
    record: {
      schema: recordLineSchema,
      sound: {
        id: "a",
        images: ["a.png"],
        question: "?",
        kind: "choice",
        answer: "b",
        choices: ["b", "c"],
        category: "x",
        source: "y",
      },
      nullable: ["images", "choices", "category", "source"],
    },
    manifest: {
      schema: manifestSchema,
      sound: {
        version: 1,
        verb: "rl",
        name: "a",
        createdAt: "now",
        seed: 1,
        recipe: {},
        versions: { node: "v20" },
        gitCommit: null,
        dataHashes: { a: "b" },
      },
      nullable: ["recipe"],
    },
    chain: { schema: chainLineSchema, sound: chain },
    failure: {
      schema: failureLineSchema,
      sound: { version: 1, recordId: "a", code: "io", message: "m", seconds: 1 },
    },
    example: {
      schema: exampleLineSchema,
      sound: {
        version: 2,
        id: "a",
        task: "t",
        category: "x",
        parts: [
          { author: "model", turn: 0, tokens: [1] },
          { author: "prompt", turn: 0, image: "abc" },
        ],
      },
    },
  };

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

/** Keys of a section are data, not names: `versions` of a manifest, weights of a mix. */
const isOpen = (path: Path) =>
  ["versions", "dataHashes", "recipe", "mix"].includes(String(path.at(-1)));

describe.each(Object.entries(formats))("%s", (_, { schema, sound, nullable = [] }) => {
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
