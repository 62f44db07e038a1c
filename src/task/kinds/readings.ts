/**
 * What an answer may be dressed in: full-width letters, Markdown emphasis, code ticks, quotes, LaTeX
 * boxes, "The answer is …". `readings` takes the dress off layer by layer; a judge takes an answer for
 * right when one of these readings is right. Nothing is searched for inside a longer text, so that no
 * reading says anything that the answer does not say as a whole.
 */

/** The answer as written, then with one layer less each; width folded, trimmed, none empty. */
export function readings(answer: string): string[] {
  const out: string[] = [];
  let text = fold(answer).trim();
  while (text !== "" && text !== out.at(-1) && out.length < MAX_LAYERS) {
    out.push(text);
    text = unwrapped(text);
  }
  return out;
}

/**
 * Folds width and composition (NFKC). Raised digits become `^2` first, and minus signs a hyphen:
 * folded plainly, "5²" would read 52, and so would "5₂" and "5①", which are kept apart. Characters of
 * no width go.
 */
export function fold(text: string): string {
  return text
    .replaceAll(INVISIBLE, "")
    .replaceAll(RAISED, (raised) => `^${raised.normalize("NFKC").replaceAll("\u2212", "-")}`)
    .replaceAll(DIGITS_MEET, "_")
    .normalize("NFKC")
    .replaceAll("\u2212", "-");
}

/** Case, width, blanks, surrounding quotes and closing punctuation do not matter. */
export function normalise(text: string): string {
  const folded = fold(text).toLowerCase().replaceAll(/\s+/g, " ").trim();
  const bare = inPair(folded, QUOTES)?.trim() ?? folded;
  const ended = withoutEnd(bare);
  return ended === "" ? folded : ended;
}

/** More layers than anybody writes; a bound on hostile text. */
const MAX_LAYERS = 12;
const INVISIBLE = /[\u200b\u2060\ufeff]/g;
const DIGITS_MEET = /(?<=\p{Nd})(?=\p{No})|(?<=\p{No})(?=\p{Nd})/gu;
const RAISED = /[\u00b2\u00b3\u00b9\u2070\u2074-\u2079\u207a\u207b]+/g;
const QUOTES: readonly Pair[] = [
  ['"', '"'],
  ["'", "'"],
  ["\u201c", "\u201d"],
  ["\u201e", "\u201c"],
  ["\u2018", "\u2019"],
  ["\u00ab", "\u00bb"],
];
const MARKUP: readonly Pair[] = [
  ["```", "```"],
  ["`", "`"],
  ["**", "**"],
  ["__", "__"],
  ["*", "*"],
  ["_", "_"],
  ["$$", "$$"],
  ["$", "$"],
  ["\\(", "\\)"],
  ["\\[", "\\]"],
];
const LATEX = /^\\(?:boxed|fbox|text|textbf|mathrm|mathbf)\s*\{([^{}]*(?:\{[^{}]*\}[^{}]*)*)\}$/;
const EMPHASIS =
  /(?<![\w*])(\*{1,2})(?=\S)([^*]*[^*\s])\1(?![\w*])|(?<!`)`([^`]+)`(?!`)|(?<!\w)__(?=\S)([^_]*[^_\s])__(?!\w)/g;
const LEAD =
  /^(?:(?:so|thus|hence|therefore),?\s+)?(?:(?:the|my)\s+)?(?:(?:final|correct|right|best)\s+)?answer\s*(?:is\b\s*:?|:)\s*(?=\S)/i;

type Pair = readonly [open: string, close: string];

/** The text with its outermost layer off, or the text itself. */
function unwrapped(text: string): string {
  const inner = inPair(text, MARKUP) ?? inPair(text, QUOTES) ?? LATEX.exec(text)?.[1];
  if (inner !== undefined && inner.trim() !== "") return inner.trim();
  const plain = text.replace(EMPHASIS, (_, __, starred, ticked, lined) =>
    String(starred ?? ticked ?? lined),
  );
  if (plain !== text) return plain.trim();
  const led = text.replace(LEAD, "");
  if (led !== text) return led.trim();
  return withoutEnd(text);
}

/** What stands between the pair that opens and closes the text, if nothing in it closes it before. */
function inPair(text: string, pairs: readonly Pair[]): string | undefined {
  for (const [open, close] of pairs) {
    if (text.length <= open.length + close.length) continue;
    if (!text.startsWith(open) || !text.endsWith(close)) continue;
    const inner = text.slice(open.length, -close.length);
    if (!inner.includes(close)) return inner;
  }
  return undefined;
}

function withoutEnd(text: string): string {
  let end = text.length;
  while (end > 0 && ".!?\u3002 ".includes(text[end - 1])) end--;
  return text.slice(0, end).trim();
}
