import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, expect, test } from "vitest";
import { z } from "zod";
import { parseConfig } from "./config.ts";
import { modelText, pathText } from "./config-paths.ts";

let folder: string;
beforeAll(() => {
  folder = mkdtempSync(join(tmpdir(), "vigorl-paths-"));
  mkdirSync(join(folder, "set"));
  writeFileSync(join(folder, "set/own.jsonl"), "");
});
afterAll(() => rmSync(folder, { recursive: true }));

const engine = z.discriminatedUnion("kind", [
  z.strictObject({ kind: z.literal("local"), model: modelText("a folder").default("models/nano") }),
  z.strictObject({ kind: z.literal("openai"), model: z.string() }),
]);
const schema = z.strictObject({
  file: pathText("a file").optional(),
  files: z.array(z.strictObject({ file: pathText("a file") })).default([]),
  engine: z.preprocess((input) => input, engine).optional(),
  name: z.string().default("set/own.jsonl"),
});
const parse = (text: string, ...overrides: { path: string; value: string }[]) =>
  parseConfig(text, "r.yaml", schema, overrides, folder);

test("paths are found beside the file that names them", () => {
  const { file, files, name } = parse("file: set/own.jsonl\nfiles: [{ file: ./set }]\nname: set");
  expect(file).toBe(join(folder, "set/own.jsonl"));
  expect(files).toEqual([{ file: join(folder, "set") }]);
  expect(name).toBe("set");
});

test("then from the current folder and among what comes with vigorl", () => {
  expect(parse("file: package.json").file).toBe("package.json");
  expect(parse("engine: { kind: local, model: models/nano }").engine?.model).toBe("models/nano");
});

test("one that leads nowhere is named as beside the file", () => {
  expect(parse("file: nowhere.jsonl").file).toBe(join(folder, "nowhere.jsonl"));
  expect(parse("file: /nowhere.jsonl").file).toBe("/nowhere.jsonl");
});

test("what lies nowhere may be the name of a model on the hub, where a model is meant", () => {
  const model = (name: string) => parse(`engine: { kind: local, model: ${name} }`).engine?.model;
  expect(model("Qwen/Qwen2-VL")).toBe("Qwen/Qwen2-VL");
  expect(model("runs/nowhere")).toBe(join(folder, "runs/nowhere"));
  expect(model("set/own.jsonl")).toBe(join(folder, "set/own.jsonl"));
  expect(parse("file: Qwen/Qwen2-VL").file).toBe(join(folder, "Qwen/Qwen2-VL"));
});

test("those of flags are relative to the current folder, and names of servers are no paths", () => {
  expect(parse("", { path: "file", value: "set/own.jsonl" }).file).toBe("set/own.jsonl");
  expect(parse("engine: { kind: openai, model: set }").engine?.model).toBe("set");
});
