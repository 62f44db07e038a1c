import fc from "fast-check";
import { expect, test } from "vitest";
import { jsonLine, markdownCode, markdownText, plainLine, plainText } from "./plain-text.ts";

/** Texts rich in what a terminal, a page or a table would act on. */
const hostile = fc
  .array(
    fc.oneof(
      fc.string({ unit: "binary", maxLength: 4 }),
      fc.constantFrom("\x1b[2J", "\x1b]52;c;YQ==\x07", "\x9b31m", "\u202e", "\u2066", "\r", "\n"),
      fc.constantFrom("|", "`", "``", "**", "<b>", "](", "\\", "&lt;", "#"),
    ),
    { maxLength: 12 },
  )
  .map((parts) => parts.join(""));

const acts = /(?![\t\n])\p{Cc}|[\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069]/u;

test("no control and no mark of reading order is left, and what is fit stays", () => {
  fc.assert(
    fc.property(hostile, (text) => {
      expect(plainText(text)).not.toMatch(acts);
      expect(plainLine(text)).not.toMatch(/[\n\t]/);
      expect(plainText(plainText(text))).toBe(plainText(text));
    }),
  );
  const fit = "a\tb\n図 – “é” 👩‍🔬 می‌خواهم";
  expect(plainText(fit)).toBe(fit);
  expect(plainText("one\r\ntwo\rthree\x1b[31m")).toBe("one\ntwo\ufffdthree\ufffd[31m");
});

test("a JSON line holds the same value and no control", () => {
  fc.assert(
    fc.property(hostile, (text) => {
      const line = jsonLine({ text });
      expect(line).not.toMatch(acts);
      expect(JSON.parse(line)).toEqual({ text });
    }),
  );
});

test("text in Markdown is one cell without markup", () => {
  fc.assert(
    fc.property(hostile, (text) => {
      const cell = markdownText(text);
      expect(cell.replaceAll(/\\[\\`*_[\]<>|~#]/g, "")).not.toMatch(/[\\`*_[\]<>|~#\n]/);
      const [, fence] = /^(`+)/.exec(markdownCode(text))!;
      const inner = markdownCode(text).slice(fence.length, -fence.length);
      expect(inner.split(/[^`]+/)).not.toContain(fence);
    }),
  );
  expect(markdownText("a|b *c*")).toBe(String.raw`a\|b \*c\*`);
  expect(markdownCode("./vigorl `x`")).toBe("`` ./vigorl `x` ``");
});
