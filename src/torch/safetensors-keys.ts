/**
 * Finds a repeated key in the text of a JSON object. `JSON.parse` keeps the last of two silently, so
 * a header could show one reader another tensor than the next.
 */

/** The first key of the outermost object that comes twice, or null. The text must be valid JSON. */
export function duplicateKey(text: string): string | null {
  const seen = new Set<string>();
  let depth = 0;
  let expectsKey = false;
  for (let i = 0; i < text.length; i++) {
    const char = text[i];
    if (char === '"') {
      const end = endOfString(text, i);
      if (depth === 1 && expectsKey) {
        const key = JSON.parse(text.slice(i, end + 1)) as string;
        if (seen.has(key)) return key;
        seen.add(key);
        expectsKey = false;
      }
      i = end;
    } else if (char === "{" || char === "[") {
      depth++;
      expectsKey = depth === 1;
    } else if (char === "}" || char === "]") {
      depth--;
    } else if (char === "," && depth === 1) {
      expectsKey = true;
    }
  }
  return null;
}

/** Index of the quote that closes the string opened at `start`. */
function endOfString(text: string, start: number): number {
  let i = start + 1;
  while (i < text.length && text[i] !== '"') i += text[i] === "\\" ? 2 : 1;
  return i;
}
