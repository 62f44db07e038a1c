/** Open answers as MMMU's own evaluation reads them: parts of a reply, and all numbers in them. */

const INDICATORS = [
  "could be ",
  "so ",
  "is ",
  "thus ",
  "therefore ",
  "final ",
  "answer ",
  "result ",
];
const TRIVIAL = new Set([":", ",", ".", "!", "?", ";", "'"]);

/** What a reply may be taken for, as lower-case texts and as numbers of two decimals. */
export function openPredictions(reply: string): (string | number)[] {
  const parts = keyParts(reply);
  return [...new Set([...parts, ...parts.flatMap(numbersIn)].flatMap(normalisedGold))];
}

/** A text as it is compared: a number, or lower case; a lone letter only beside a blank. */
export function normalisedGold(text: string): (string | number)[] {
  const bare = text.trim();
  const number = pythonFloat(bare.replaceAll(",", ""));
  if (number !== null) return [rounded(number)];
  const lower = bare.toLowerCase();
  return lower.length === 1 ? [` ${lower}`, `${lower} `] : [lower];
}

/** The shortest end of each line that follows a word such as "is"; all of it where there is none. */
function keyParts(reply: string): string[] {
  const lines = reply
    .trim()
    .replace(/^\.+|\.+$/g, "")
    .toLowerCase()
    .split("\n");
  const parts: string[] = [];
  for (const [i, line] of lines.entries()) {
    const indicators = i === lines.length - 1 ? [...INDICATORS, "="] : INDICATORS;
    const ends = indicators.flatMap((word) =>
      line.includes(word) ? [(line.split(word).at(-1) ?? "").trim()] : [],
    );
    // An empty end is passed over by whatever comes next, as a falsy value is in the original.
    const shortest = ends.reduce(
      (best, end) => (best === "" || end.length < best.length ? end : best),
      "",
    );
    if (shortest !== "" && !TRIVIAL.has(shortest)) parts.push(shortest);
  }
  return parts.length === 0 ? [reply] : parts;
}

function numbersIn(text: string): string[] {
  const patterns = [
    /-?\b\d{1,3}(?:,\d{3})+\b/g,
    /-?\d+(?:\.\d+)?[eE][+-]?\d+/g,
    /-?(?:\d+\.\d+|\.\d+|\d+\b)(?![eE][+-]?\d+)(?![,\d])/g,
  ];
  return patterns.flatMap((pattern) => text.match(pattern) ?? []);
}

function pythonFloat(text: string): number | null {
  return /^[+-]?(?:\d+\.?\d*|\.\d+)(?:e[+-]?\d+)?$/i.test(text) ? Number(text) : null;
}

/** To two decimals; a tie, which only eighths can be, goes to the even digit. */
function rounded(value: number): number {
  const isTie = Number.isInteger(value * 8) && !Number.isInteger(value * 4);
  if (!isTie) return Math.abs(value) >= 1e15 ? value : Number(value.toFixed(2));
  const floor = Math.floor(value * 100);
  return (floor % 2 === 0 ? floor : floor + 1) / 100;
}
