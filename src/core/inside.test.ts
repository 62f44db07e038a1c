import fc from "fast-check";
import { mkdtempSync, mkdirSync, symlinkSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join, relative } from "node:path";
import { expect, test } from "vitest";
import { VigorlError } from "./errors.ts";
import { inside, joinNames, nameFrom, nameProblem, nameSchema } from "./inside.ts";

const temporary = () => mkdtempSync(join(tmpdir(), "vigorl-inside-"));

/** Any text, the ways out of a folder among them. */
const anyName = fc.oneof(
  fc.string({ unit: "binary" }),
  fc
    .array(fc.constantFrom("..", ".", "/", "\\", "a", "~", " ", "\0", "%2e", "é", "\u202e"), {
      minLength: 1,
      maxLength: 6,
    })
    .map((parts) => parts.join("")),
);

test("whatever the names, the result lies in the folder or is refused", () => {
  fc.assert(
    fc.property(fc.array(anyName, { minLength: 1, maxLength: 3 }), (names) => {
      let path: string;
      try {
        path = joinNames("/runs/a", ...names);
      } catch (error) {
        expect(error).toBeInstanceOf(VigorlError);
        return;
      }
      const way = relative("/runs/a", path).split("/");
      expect(way).toEqual(names);
      expect(way).not.toContain("..");
    }),
  );
});

test("a name made of any text is a name, and different texts give different names", () => {
  fc.assert(
    fc.property(anyName, anyName, (a, b) => {
      expect(nameProblem(nameFrom(a))).toBeNull();
      expect(nameFrom(a) === nameFrom(b)).toBe(a === b);
    }),
  );
  expect(nameFrom("search-17")).toBe("search-17");
  expect(nameFrom("../../x")).toMatch(/^x-[0-9a-f]{12}$/);
});

test.each(["", " ", ".", "..", "...", ".git", "a/b", "a\\b", "../x", "a\0b", "a\nb", " a", "a "])(
  "%j is no name",
  (text) => {
    expect(nameSchema.safeParse(text).success).toBe(false);
    expect(() => inside("/runs", text)).toThrow(VigorlError);
  },
);

test.each(["rl-zoom", "V*Bench", "ScreenSpot (web)", "图片", "a..b", "_x", "100 %"])(
  "%j is a name",
  (text) => {
    expect(nameSchema.safeParse(text).success).toBe(true);
    expect(inside("/runs", text)).toBe(join("/runs", text));
  },
);

test("links out of a folder are refused, others and the folder's own are followed", () => {
  const root = temporary();
  const run = join(root, "run");
  mkdirSync(join(run, "real"), { recursive: true });
  mkdirSync(join(root, "victim"));
  symlinkSync(join(root, "victim"), join(run, "eval"));
  symlinkSync("real", join(run, "near"));
  symlinkSync("nowhere", join(run, "broken"));
  symlinkSync(run, join(root, "alias"));
  symlinkSync("..", join(run, "real", "up"));
  expect(() => inside(run, "eval", "task")).toThrow(/leads out of .*run, to .*victim/);
  expect(() => inside(run, "eval")).toThrow(VigorlError);
  expect(() => inside(run, "broken")).toThrow(VigorlError);
  expect(() => inside(run, "real", "up", "checkpoints")).toThrow(VigorlError);
  expect(inside(run, "near", "x")).toBe(join(run, "near", "x"));
  expect(inside(join(root, "alias"), "real")).toBe(join(root, "alias", "real"));
  expect(joinNames(run, "eval", "task")).toBe(join(run, "eval", "task"));
  writeFileSync(join(run, "file"), "");
  expect(() => inside(run, "file", "x", "y")).toThrow(VigorlError);
  expect(dirname(inside(run, "new", "deep"))).toBe(join(run, "new"));
});
