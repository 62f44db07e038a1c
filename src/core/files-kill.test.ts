/**
 * A kill at any moment of replacing a folder: from the n-th call to the file system on, every call
 * fails, clean-up included, as for a process that is gone.
 */
import { existsSync, mkdtempSync, readdirSync, readFileSync } from "node:fs";
import type * as FileSystem from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { beforeEach, expect, test, vi } from "vitest";
import { removeUnfinished, replaceFolderAtomic, settleFolder, wholeFolder } from "./files.ts";

const killer = vi.hoisted(() => ({ calls: 0, at: Infinity, only: "" }));

vi.mock("node:fs/promises", async (importOriginal) => {
  const real = await importOriginal<Record<string, unknown>>();
  const mortal = Object.entries(real).map(([name, value]) => {
    if (typeof value !== "function") return [name, value];
    const call = value as (...args: unknown[]) => unknown;
    const wrapped = (...args: unknown[]) => {
      if (killer.only !== "" && killer.only !== name) return call(...args);
      if (++killer.calls >= killer.at && (killer.only === "" || killer.calls === killer.at))
        return Promise.reject(Object.assign(new Error("killed"), { code: "EIO" }));
      return call(...args);
    };
    return [name, wrapped];
  });
  return Object.fromEntries(mortal);
});

beforeEach(() => Object.assign(killer, { calls: 0, at: Infinity, only: "" }));

/** Two files, so that a half-written or half-removed folder can be told from a whole one. */
const fill = (text: string) => async (beside: string) => {
  const { writeFile } = await vi.importActual<typeof FileSystem>("node:fs/promises");
  for (const name of ["a", "b"]) await writeFile(join(beside, name), text);
};

function content(folder: string): string {
  const names = readdirSync(folder).sort();
  expect(names).toEqual(["a", "b"]);
  const [a, b] = names.map((name) => readFileSync(join(folder, name), "utf8"));
  expect(a).toBe(b);
  return a;
}

test.each([true, false])(
  "a whole copy is found after a kill (an old one there: %s)",
  async (old) => {
    let numKilled = 0;
    for (let at = 1; ; at++) {
      const parent = mkdtempSync(join(tmpdir(), "vigorl-kill-"));
      const folder = join(parent, "model");
      if (old) await replaceFolderAtomic(folder, fill("old"));
      Object.assign(killer, { calls: 0, at });
      const killed = await replaceFolderAtomic(folder, fill("new")).then(
        () => false,
        () => true,
      );
      Object.assign(killer, { at: Infinity });
      const found = await wholeFolder(folder);
      if (old) expect(["old", "new"]).toContain(content(found));
      else if (existsSync(found)) expect(content(found)).toBe("new");
      const before = existsSync(found) ? content(found) : null;
      if (at % 2 === 0) await settleFolder(folder);
      await removeUnfinished(parent);
      expect(readdirSync(parent)).toEqual(before === null ? [] : ["model"]);
      if (before !== null) expect(content(folder)).toBe(before);
      if (!killed) break;
      numKilled++;
    }
    expect(numKilled).toBeGreaterThan(5);
  },
);

test("where the new folder cannot be put in place, the old one is", async () => {
  const parent = mkdtempSync(join(tmpdir(), "vigorl-kill-"));
  const folder = join(parent, "model");
  await replaceFolderAtomic(folder, fill("old"));
  Object.assign(killer, { calls: 0, at: 2, only: "rename" });
  await expect(replaceFolderAtomic(folder, fill("new"))).rejects.toMatchObject({ code: "io" });
  expect(content(folder)).toBe("old");
  expect(readdirSync(parent)).toEqual(["model"]);
});
