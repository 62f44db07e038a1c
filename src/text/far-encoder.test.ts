/** A tokenizer in a thread: the ids of the one that is here, one text after the other. */
import { expect, test } from "vitest";
import { chat } from "../task/fixtures/scene.ts";
import { FarEncoder } from "./far-encoder.ts";

const { tokenizer } = chat;

test("gives the same ids, in order, and goes on behind a text that nobody waits for", async () => {
  const encoder = new FarEncoder(tokenizer.source);
  const { signal } = new AbortController();
  const texts = ["a red star", "", "x".repeat(300), "zwölf"];
  const ids = await Promise.all(texts.map((text) => encoder.encode(text, signal)));
  expect(ids).toEqual(texts.map((text) => tokenizer.encode(text)));
  const gone = AbortSignal.abort(new Error("gone"));
  await expect(encoder.encode("a", gone)).rejects.toThrow("gone");
  expect(await encoder.encode("a", signal)).toEqual(tokenizer.encode("a"));
  await encoder.close();
});

test("a folder without a tokenizer is named", async () => {
  const encoder = new FarEncoder("no/such/folder");
  await expect(encoder.encode("a", new AbortController().signal)).rejects.toThrow(/no\/such/);
  await encoder.close();
});

test("what cannot fit is seen without tokenising it", () => {
  expect(tokenizer.cannotFit("a".repeat(1e6), 10)).toBe(true);
  const text = "the red star ".repeat(50);
  expect(tokenizer.cannotFit(text, tokenizer.encode(text).length)).toBe(false);
});
