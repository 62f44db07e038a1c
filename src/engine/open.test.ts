/** The kinds of engines: what stands where, what a recipe may say, and what is asked before work. */
import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { expect, test } from "vitest";
import { requireCapabilities, samplingOnly } from "./capabilities.ts";
import { localCapabilities } from "./local/capabilities.ts";
import { engineKinds, engineSchema, onWeights, processorFolder, requireOfKind } from "./open.ts";

const source = join(import.meta.dirname, "..");

test("a kind of engine is a folder and one line of open.ts", () => {
  const names = engineKinds.map(({ schema }) => schema.shape.kind.value);
  expect(names).toEqual(["local", "openai", "tinker"]);
  const folders = readdirSync(import.meta.dirname, { withFileTypes: true })
    .filter((entry) => entry.isDirectory())
    .map(({ name }) => name);
  expect(folders).toEqual(expect.arrayContaining([...names]));
  const open = readFileSync(join(import.meta.dirname, "open.ts"), "utf8");
  const table = /export const engineKinds = \[(.*)\] as const;/.exec(open);
  expect(table?.[1]).toBe("localKind, openaiKind, tinkerKind");
});

test("nobody else chooses by the kind of an engine", () => {
  const files = readdirSync(source, { recursive: true, encoding: "utf8" }).filter(
    (file) => file.endsWith(".ts") && !file.endsWith(".test.ts") && !file.startsWith("engine/"),
  );
  const choosing = files.filter((file) => {
    const text = readFileSync(join(source, file), "utf8");
    return /engine[\w.]*\.kind\b\s*(===|!==)|from ".*engine\/(local|openai)\/kind\.ts"/.test(text);
  });
  expect(choosing).toEqual([]);
});

test("a section without a kind is a local engine with everything worked out", () => {
  const config = engineSchema.parse({});
  expect(config).toMatchObject({ kind: "local", model: "models/nano", maxPositions: "auto" });
  expect(engineSchema.safeParse({ kind: "tinker" }).success).toBe(false);
  expect(engineSchema.safeParse({ kind: "openai" }).success).toBe(false);
  expect(engineSchema.safeParse({ url: "http://x/v1" }).success).toBe(false);
});

test("what an engine can never do is refused by name, before it is opened", () => {
  const server = engineSchema.parse({ kind: "openai", url: "http://127.0.0.1:1/v1" });
  const needs = { purpose: "rl", capabilities: ["images", "learn", "blind"] as const };
  expect(() => requireOfKind(server, needs)).toThrow(
    "rl: an engine of kind openai lacks learn (gradients, optimizer steps, checkpoints), blind (log-probabilities with the pixels blanked)",
  );
  expect(() => requireOfKind(engineSchema.parse({}), needs)).not.toThrow();
  const plain = { name: "plain:m", ...samplingOnly };
  expect(() =>
    requireCapabilities(plain, { purpose: "sft.collect", capabilities: ["tokenExact"] }),
  ).toThrow("sft.collect: plain:m lacks tokenExact");
  expect(Object.values(localCapabilities).every(Boolean)).toBe(true);
});

test("prompts for a server need a folder, and its weights are its own", () => {
  const server = engineSchema.parse({ kind: "openai", url: "http://127.0.0.1:1/v1" });
  expect(() => processorFolder(server)).toThrow(/no folder of tokenizer/);
  expect(processorFolder(server, "a/teacher's")).toBe("a/teacher's");
  expect(() => onWeights(server, "step-1")).toThrow(/cannot open step-1/);
  expect(onWeights(engineSchema.parse({}), "step-1")).toMatchObject({ model: "step-1" });
});
