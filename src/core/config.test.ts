import { mkdtempSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { expect, test } from "vitest";
import { z } from "zod";
import { loadConfig, nearestName, parseConfig, parseOverride } from "./config.ts";

const schema = z.strictObject({
  name: z.string(),
  model: z.string().default("models/nano"),
  rl: z
    .strictObject({
      groupSize: z.int().min(2).default(8),
      clip: z.strictObject({ low: z.number().positive().default(0.2) }).prefault({}),
      profile: z
        .enum(["default", "paper", "repo"])
        .meta({ instead: { old: "it is called repo" } })
        .default("default"),
      stop: z.array(z.string()).default([]),
      dualClip: z
        .number()
        .nullable()
        .default(3)
        .meta({ formerly: ["bound"] }),
    })
    .prefault({}),
  sft: z
    .preprocess((input) => input, z.strictObject({ epochs: z.int().min(1).default(2) }))
    .optional(),
});

const parse = (text: string, ...flags: string[]) =>
  parseConfig(
    text,
    "recipes/rl.yaml",
    schema,
    flags.map((flag) => parseOverride(flag)!),
  );

test("fills defaults and applies overrides by the schema's types", () => {
  const config = parse(
    "name: a\nrl:\n  groupSize: 4\n",
    "--rl.clip.low=0.3",
    "--name=007",
    "--rl.stop=[x, y]",
    "--rl.dualClip=null",
  );
  expect(config).toEqual({
    name: "007",
    model: "models/nano",
    rl: { groupSize: 4, clip: { low: 0.3 }, profile: "default", stop: ["x", "y"], dualClip: null },
  });
});

test.each([
  ["rl:\n  bound: 1\n", "unknown key rl.bound; did you mean dualClip?"],
  ["name: a\nrl:\n  profile: old\n", "recipes/rl.yaml:3: rl.profile: it is called repo"],
  [
    "name: a\nrl:\n  groupSize: 1\n",
    "recipes/rl.yaml:3: rl.groupSize must be ≥ 2 (got 1); set it to 8",
  ],
  [
    "name: a\nrl:\n  groupsize: 4\n",
    "recipes/rl.yaml:3: unknown key rl.groupsize; did you mean groupSize?",
  ],
  [
    "name: a\nrl:\n  groupSize: many\n",
    'recipes/rl.yaml:3: rl.groupSize must be a number (got "many"); set it to 8',
  ],
  [
    "name: a\nrl:\n  groupSize: 2.5\n",
    "recipes/rl.yaml:3: rl.groupSize must be a whole number (got 2.5); set it to 8",
  ],
  ["name: a\nrl: 3\n", "recipes/rl.yaml:2: rl must be a section of keys (got 3)"],
  ["rl: {}\n", "recipes/rl.yaml: name is missing; it must be a string"],
  [
    "name: a\nrl:\n  profile: papr\n",
    'recipes/rl.yaml:3: rl.profile must be one of "default", "paper", "repo" (got "papr"); set it to "default"',
  ],
  ["name: a\nsft: {epoch: 1}\n", "recipes/rl.yaml:2: unknown key sft.epoch; did you mean epochs?"],
  ["name: a\nsft: {epochs: 0}\n", "recipes/rl.yaml:2: sft.epochs must be ≥ 1 (got 0); set it to 2"],
  [
    "name: a\nrl: {clip: {low: -1}}\n",
    "recipes/rl.yaml:2: rl.clip.low must be > 0 (got -1); set it to 0.2",
  ],
])("%j says what and where", (text, message) => {
  expect(() => parse(text)).toThrow(message);
});

test("a bad override is named by its flag", () => {
  expect(() => parse("name: a", "--rl.groupSize=1")).toThrow(
    "--rl.groupSize=1: rl.groupSize must be ≥ 2 (got 1); set it to 8",
  );
  expect(() => parse("name: a", "--rl.grupSize=4")).toThrow(
    "--rl.grupSize=4: unknown key rl.grupSize; did you mean groupSize?",
  );
  expect(() => parse("name: a", "--name.x=4")).toThrow("name has no keys of its own");
});

test("nesting that the parser would not survive is refused before it recurses", () => {
  const deep = ["[", "- ", "? ", "{a: ", "!t [", "a:\n  b: [{"].map((one) => one.repeat(5000));
  const indented = Array.from({ length: 500 }, (_, i) => `${" ".repeat(i)}a:`).join("\n");
  for (const text of [...deep, indented])
    expect(() => parse(text)).toThrow(/recipes\/rl\.yaml:\d+: nests deeper than 100 levels/);
  expect(() => parse(`name: "${"[".repeat(500)}"`)).not.toThrow(/nests/);
});

test("a file that is not UTF-8 is refused, and none of its bytes replaced", () => {
  const file = join(mkdtempSync(join(tmpdir(), "vigorl-config-")), "a.yaml");
  writeFileSync(file, Buffer.from("name: caf\xe9\n", "latin1"));
  expect(() => loadConfig(file, schema)).toThrow(/a\.yaml: is not UTF-8/);
});

test("broken YAML is named by its line; several problems are listed together", () => {
  expect(() => parse("name: a\nrl: {groupSize: [\n")).toThrow(
    /recipes\/rl\.yaml:\d+: not valid YAML/,
  );
  expect(() => parse("name: 3\nrll: {}\n")).toThrow(
    /2 problems\n.*:1: name.*\n.*:2: unknown key rll/s,
  );
});

test("parseOverride takes only key paths with a value", () => {
  expect(parseOverride("--rl.groupSize=8")).toEqual({ path: "rl.groupSize", value: "8" });
  expect(parseOverride("--x=a=b")).toEqual({ path: "x", value: "a=b" });
  expect(parseOverride("--json")).toBeNull();
  expect(parseOverride("rl.groupSize=8")).toBeNull();
});

test("nearestName suggests slips and stays silent on strangers", () => {
  expect(nearestName("groupsise", ["groupSize", "seed"])).toBe("groupSize");
  expect(nearestName("zebra", ["groupSize", "seed"])).toBeUndefined();
});

const kinds = z.strictObject({
  engine: z
    .preprocess(
      (input) =>
        typeof input === "object" && input !== null && !("kind" in input)
          ? { kind: "local", ...input }
          : input,
      z.discriminatedUnion("kind", [
        z.strictObject({ kind: z.literal("local"), model: z.string().default("nano") }),
        z.strictObject({
          kind: z.literal("openai"),
          model: z.string().default("auto"),
          url: z.string(),
        }),
      ]),
    )
    .prefault({}),
});

test("a section of one of several kinds starts anew with another kind, in any order of flags", () => {
  const of = (text: string, ...flags: string[]) =>
    parseConfig(
      text,
      "r.yaml",
      kinds,
      flags.map((flag) => parseOverride(flag)!),
    ).engine;
  const written = "engine: { model: mine }\n";
  expect(of(written)).toEqual({ kind: "local", model: "mine" });
  expect(of(written, "--engine.kind=local")).toEqual({ kind: "local", model: "mine" });
  const server = { kind: "openai", url: "http://x", model: "auto" };
  expect(of(written, "--engine.kind=openai", "--engine.url=http://x")).toEqual(server);
  expect(of(written, "--engine.url=http://x", "--engine.kind=openai")).toEqual(server);
  expect(() => of("engine: { url: a }")).toThrow(
    "r.yaml:1: unknown key engine.url; it belongs to kind: openai",
  );
  expect(() => of("engine: { modle: a }")).toThrow("did you mean model?");
  expect(() => of("engine: { kind: tinker }")).toThrow(
    'r.yaml:1: engine.kind must be one of kind: local; kind: openai (got "tinker")',
  );
});
