/** Texts as scorers compare them. */

/** Without the punctuation of ASCII, as Python's `string.punctuation` lists it. */
export function withoutAsciiPunctuation(text: string): string {
  return text.replaceAll(/[!-/:-@[-`{-~]/g, "");
}
