/**
 * How much longer a tokenizer's normalizers and pre-tokenizers may make a text. A `tokenizer.json` can
 * chain replacements that double it each, which forty lines of JSON turn into a terabyte.
 */

/** Marks in place of blanks take far less. */
export const maxGrowth = 1024;

/** The most that a text of one character may become, over all parts in a row. */
export function growthOf(parts: unknown): number {
  if (Array.isArray(parts)) return parts.reduce<number>((all, part) => all * growthOf(part), 1);
  if (typeof parts !== "object" || parts === null) return 1;
  const { type, pattern, content, prepend, replacement } = parts as Record<string, unknown>;
  if (type === "Replace") return growthOfReplace(pattern, lengthOf(content));
  if (type === "Prepend") return 1 + lengthOf(prepend);
  if (type === "Metaspace") return 1 + lengthOf(replacement);
  return growthOf(Object.values(parts).filter((part) => typeof part === "object"));
}

function lengthOf(text: unknown): number {
  return typeof text === "string" ? text.length : 1;
}

/** A regular expression may match a single character, or nothing before each. */
function growthOfReplace(pattern: unknown, length: number): number {
  const isText = typeof pattern === "object" && pattern !== null && "String" in pattern;
  if (!isText) return 1 + length;
  const matched = lengthOf(pattern.String);
  return matched === 0 ? 1 + length : Math.max(1, length / matched);
}
