/** What a model folder's tokenizer may cost, whatever it is made to do. */
import { readFileSync } from "node:fs";
import { expect, test } from "vitest";
import { VigorlError } from "../core/errors.ts";
import { hasPublishedRules } from "./byte-level-bpe.ts";
import { growthOf } from "./normalizer-growth.ts";
import { Tokenizer } from "./tokenizer.ts";

const folder = new URL("../../models/nano/", import.meta.url);
const json = (name: string) => JSON.parse(readFileSync(new URL(name, folder), "utf8")) as object;

const withRules = (rules: object) =>
  new Tokenizer({ ...json("tokenizer.json"), ...rules }, json("tokenizer_config.json"), "model");

test("replacements that grow a text are refused", () => {
  const twice = { type: "Replace", pattern: { String: "a" }, content: "aa" };
  const normalizer = { type: "Sequence", normalizers: Array(40).fill(twice) };
  expect(growthOf(normalizer)).toBe(2 ** 40);
  expect(() => withRules({ normalizer })).toThrow(/times as long/);
  const blanks = { type: "Replace", pattern: { String: " " }, content: "▁" };
  expect(growthOf({ type: "Sequence", normalizers: Array(40).fill(blanks) })).toBe(1);
  expect(growthOf({ type: "Replace", pattern: { Regex: "" }, content: "ab" })).toBe(3);
});

test.each([
  ["an unknown part", { pre_tokenizer: { type: "Unheard" } }],
  ["broken merges", { model: { ...json("tokenizer.json"), type: "BPE", vocab: {}, merges: [7] } }],
  ["merges that are no pairs", { model: { type: "BPE", vocab: { a: 0 }, merges: [["a"], "b"] } }],
  ["merges of three", { model: { type: "BPE", vocab: { a: 0 }, merges: ["a b c"] } }],
  ["two tokens of one id", { model: { type: "BPE", vocab: { a: 0, b: 0 }, merges: [] } }],
  ["an id that is no number", { model: { type: "BPE", vocab: { a: "x" }, merges: [] } }],
  ["an id of absurd size", { model: { type: "BPE", vocab: { a: 2 ** 31 }, merges: [] } }],
])("a tokenizer with %s is refused by name", (_, rules) => {
  expect(() => withRules(rules)).toThrow(VigorlError);
  expect(() => withRules(rules)).toThrow(/^model.*: /);
});

test("only the published rules are trusted with short texts", () => {
  const { normalizer, pre_tokenizer: cut } = json("tokenizer.json") as Record<string, object>;
  expect(hasPublishedRules(normalizer, cut)).toBe(true);
  const [split, bytes] = (cut as { pretokenizers: object[] }).pretokenizers;
  const splitBy = (Regex: string) => ({ ...split, pattern: { Regex } });
  for (const pretokenizers of [
    [splitBy("(a+)+$"), bytes],
    [split, splitBy("(a+)+$")],
    [split, bytes, splitBy("(a+)+$")],
    [split, { ...bytes, use_regex: true }],
  ])
    expect(hasPublishedRules(normalizer, { ...cut, pretokenizers })).toBe(false);
  const replace = { type: "Replace", pattern: { Regex: "(a+)+$" }, content: "" };
  expect(hasPublishedRules(replace, cut)).toBe(false);
});
