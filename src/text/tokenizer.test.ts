import { readFile } from "node:fs/promises";
import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { StreamDecoder, Tokenizer, loadTokenizer } from "./tokenizer.ts";

const folder = new URL("fixtures/tokenizer", import.meta.url).pathname;
const golden: { texts: { text: string; ids: number[]; decoded: string; plain: string }[] } =
  JSON.parse(await readFile(new URL("fixtures/golden.json", import.meta.url), "utf8"));
const tokenizer = await loadTokenizer(folder);

describe("ids equal those of transformers", () => {
  test.each(golden.texts)("$text", ({ text, ids, decoded, plain }) => {
    expect(tokenizer.encode(text)).toEqual(ids);
    expect(tokenizer.decode(ids)).toBe(decoded);
    expect(tokenizer.decode(ids, { skipSpecial: true })).toBe(plain);
  });
});

test("decode(encode(text)) is the text in NFC", () => {
  fc.assert(
    fc.property(fc.string({ unit: "grapheme" }), (text) => {
      expect(tokenizer.decode(tokenizer.encode(text))).toBe(text.normalize("NFC"));
    }),
  );
});

test("a stream gives whole characters, and all of them", () => {
  // One that is in the text itself cannot be told from half a character.
  const texts = fc.string({ unit: "grapheme" }).filter((text) => !text.includes("\ufffd"));
  fc.assert(
    fc.property(texts, (text) => {
      const stream = new StreamDecoder(tokenizer);
      const parts = tokenizer.encode(text).map((id) => stream.push(id));
      for (const part of parts) expect(part).not.toMatch(/\p{Surrogate}/u);
      expect(parts.join("")).not.toContain("\ufffd");
      expect(parts.join("") + stream.flush()).toBe(text.normalize("NFC"));
    }),
  );
});

test("any ids decode to well-formed text", () => {
  const id = fc.integer({ min: 0, max: tokenizer.vocabSize - 1 });
  fc.assert(
    fc.property(fc.array(id), (ids) => {
      expect(tokenizer.decode(ids)).not.toMatch(/\p{Surrogate}/u);
    }),
  );
});

test("knows the control tokens, and that tool tags are none", () => {
  expect(tokenizer.eosId).toBe(tokenizer.imEndId);
  expect(tokenizer.isSpecial(tokenizer.imagePadId)).toBe(true);
  expect(tokenizer.isSpecial(tokenizer.tokenId("<tool_call>"))).toBe(false);
  expect(tokenizer.hasId(tokenizer.vocabSize)).toBe(false);
  expect(() => tokenizer.decode([tokenizer.vocabSize])).toThrow(/has no token/);
});

test("refuses other decoder families and folders without a tokenizer", async () => {
  const file = JSON.parse(await readFile(`${folder}/tokenizer.json`, "utf8"));
  const config = JSON.parse(await readFile(`${folder}/tokenizer_config.json`, "utf8"));
  expect(() => new Tokenizer({ ...file, decoder: { type: "Metaspace" } }, config, "m")).toThrow(
    /ByteLevel/,
  );
  expect(() => new Tokenizer(file, {}, "m")).toThrow(/eos_token/);
  await expect(loadTokenizer("/nowhere")).rejects.toThrow(/cannot read/);
});
