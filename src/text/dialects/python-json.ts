/**
 * JSON as Python's json module reads it: besides the standard it takes NaN, Infinity and -Infinity.
 * Numbers beyond the range become infinite, in both.
 */

const words: readonly (readonly [string, number])[] = [
  ["NaN", NaN],
  ["Infinity", Infinity],
  ["-Infinity", -Infinity],
];

/** Key of the objects that stand for the words while the standard reader reads. */
const MARK = "\u2063number";

/** The value of a text, or undefined where Python raises. */
export function parsePythonJson(text: string): unknown {
  const standard = text.replaceAll(/"(?:[^"\\]|\\.)*"|-?Infinity|NaN/gs, (piece) => {
    const index = words.findIndex(([word]) => word === piece);
    return index < 0 ? piece : `{"${MARK}":${index}}`;
  });
  try {
    return JSON.parse(standard, (_, value: unknown) =>
      typeof value === "object" && value !== null && Object.hasOwn(value, MARK)
        ? words[(value as Record<string, number>)[MARK]][1]
        : value,
    ) as unknown;
  } catch {
    return undefined;
  }
}
