/**
 * Held to the published code: inputs, and what its functions gave for them (`scripts/published.ts` wrote
 * the tables). Ours gives the same, or differs for a reason that the kind declares.
 */
import { existsSync, readFileSync } from "node:fs";
import { expect, test } from "vitest";
import { z } from "zod";
import { disagreement, goldenOf } from "./compare.ts";
import { kinds } from "./kinds.ts";

const table = z.array(
  z.union([
    z.strictObject({ input: z.unknown(), published: z.unknown() }),
    z.strictObject({ input: z.unknown(), digest: z.string() }),
  ]),
);

test.each(kinds.map((kind) => [kind.name, kind] as const))(
  "%s: as the published code, or for a declared reason not",
  { timeout: 300_000 },
  async (name, kind) => {
    const file = new URL(`golden/${name}.json`, import.meta.url);
    const rows = table.parse(JSON.parse(readFileSync(file, "utf8")));
    expect(rows.length).toBeGreaterThanOrEqual(300);
    const faults: unknown[] = [];
    const reasons = new Set<string>();
    for (const row of rows) {
      if ("digest" in row) {
        const ours = await kind.ours(row.input);
        if (goldenOf(kind, ours) !== row.digest) faults.push({ input: row.input, ours });
        continue;
      }
      const found = await disagreement(kind, row.input, row.published);
      if (found === null) continue;
      if (found.reason === null) faults.push({ input: row.input, ...found });
      else reasons.add(found.reason);
    }
    expect(faults).toEqual([]);
    // A reason that no row needs is none.
    const unused = kind.differences.filter(({ reason }) => !reasons.has(reason));
    expect(unused.filter(({ isRare }) => isRare !== true)).toEqual([]);
  },
);

test("every table belongs to a kind", () => {
  for (const { name } of kinds)
    expect(existsSync(new URL(`golden/${name}.json`, import.meta.url))).toBe(true);
});
