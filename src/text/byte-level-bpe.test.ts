import { mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import fc from "fast-check";
import { afterEach, beforeEach, expect, it } from "vitest";
import { z } from "zod";
import { hasTokenizer, loadTokenizer } from "./tokenizer.ts";

const nano = new URL("../../models/nano", import.meta.url).pathname;
const fileSchema = z.looseObject({
  added_tokens: z.array(z.looseObject({ id: z.int() })),
  model: z.looseObject({
    vocab: z.record(z.string(), z.int()),
    merges: z.array(z.tuple([z.string(), z.string()])),
  }),
});

let folder: string;
beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), "vigorl-bpe-"));
  const read = async (name: string): Promise<unknown> =>
    JSON.parse(await readFile(join(nano, name), "utf8"));
  const { added_tokens, model } = fileSchema.parse(await read("tokenizer.json"));
  const config = z.looseObject({}).parse(await read("tokenizer_config.json"));
  const added_tokens_decoder = Object.fromEntries(
    added_tokens.map(({ id, ...token }) => [String(id), token]),
  );
  const lines = ["#version: 0.2", ...model.merges.map((pair) => pair.join(" ")), ""];
  await write("vocab.json", JSON.stringify(model.vocab));
  await write("merges.txt", lines.join("\n"));
  await write("tokenizer_config.json", JSON.stringify({ ...config, added_tokens_decoder }));
});
afterEach(() => rm(folder, { recursive: true }));

const write = (name: string, text: string): Promise<void> => writeFile(join(folder, name), text);

it("reads a tokenizer from its vocabulary and merges as from its one file", async () => {
  expect(hasTokenizer(folder)).toBe(true);
  const [parts, whole] = await Promise.all([loadTokenizer(folder), loadTokenizer(nano)]);
  expect(parts.vocabSize).toBe(whole.vocabSize);
  expect(parts.specialTokens).toEqual(whole.specialTokens);
  const words = fc.constantFrom(
    "the red star",
    " is ",
    "<|im_start|>",
    "<tool_call>",
    "\n\n",
    "42",
  );
  const text = fc
    .array(fc.oneof(words, fc.string({ unit: "grapheme" })))
    .map((all) => all.join(""));
  fc.assert(
    fc.property(text, (sentence) => {
      expect(parts.encode(sentence)).toEqual(whole.encode(sentence));
      expect(parts.decode(parts.encode(sentence))).toBe(sentence.normalize("NFC"));
    }),
  );
});

it("names what is missing or damaged", async () => {
  await write("merges.txt", "#version: 0.2\na b\nc");
  await expect(loadTokenizer(folder)).rejects.toThrow(/merges\.txt:3: not two parts/);
  await write("vocab.json", '{"a": "b"}');
  await expect(loadTokenizer(folder)).rejects.toThrow(/vocab\.json/);
  await rm(join(folder, "merges.txt"));
  expect(hasTokenizer(folder)).toBe(false);
  await expect(loadTokenizer(folder)).rejects.toThrow(/merges\.txt/);
  const config = { tokenizer_class: "LlamaTokenizer", eos_token: "a", added_tokens_decoder: {} };
  await write("tokenizer_config.json", JSON.stringify(config));
  await expect(loadTokenizer(folder)).rejects.toThrow(/tokenizer\.json: missing.*LlamaTokenizer/);
});
