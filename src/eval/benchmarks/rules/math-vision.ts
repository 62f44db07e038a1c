/**
 * MATH-Vision's rule, which lmms-eval shares: finds the answer in a reply, cleans it of LaTeX, and
 * compares texts, then values rounded to two decimals. Values are worked out by our own reader, where
 * the original asks a computer-algebra system: what only algebra shows to be equal is unequal here.
 */
import { valueOf } from "../../../task/kinds/maths.ts";

/** What a reply is taken to answer, in lower case. */
export function mathVisionAnswer(reply: string): string {
  let text = reply.trim();
  for (const letter of "ABCDE")
    if (
      text.endsWith(` ${letter}.`) ||
      text.endsWith(` (${letter}).`) ||
      text.startsWith(`${letter}\n`) ||
      text.startsWith(`(${letter})\n`) ||
      text.startsWith(`(${letter}) ${letter}\n`)
    )
      text = letter;
  const end = (text.split("is ").at(-1) ?? "").replace(/\.+$/, "");
  if (isNumber(end)) text = end;
  if (!text.includes("oxed{")) text = behindPhrases(text);
  else if (text.split("oxed{").length > 2) text = `\\boxed{${text.split("oxed{").at(-1)}`;
  return cleaned(text)
    .replaceAll(/\(([a-e])\)/g, "$1")
    .replaceAll(/\{([a-e])\}/g, "$1")
    .replace(/\.+$/, "")
    .replace(/^:+/, "")
    .trim();
}

/** Equal texts, or equal values to two decimals; nothing equals an empty text. */
export function mathVisionEqual(a: string, b: string): boolean {
  const [x, y] = [a.toLowerCase(), b.toLowerCase()];
  if (x.replaceAll(" ", "") === "" || y.replaceAll(" ", "") === "") return false;
  if (x.trim() === y.trim()) return true;
  const [s, t] = [withValues(x), withValues(y)];
  if (s === t) return true;
  const [p, q] = [valueOf(s), valueOf(t)];
  return p !== null && q !== null && rounded(p) === rounded(q);
}

function behindPhrases(reply: string): string {
  let text = reply;
  for (const phrase of [
    "the final answer is",
    "the answer is",
    "the correct answer is",
    "the answer should be",
  ])
    for (const flag of [phrase, phrase.replace("the", "The")]) {
      const had = text.includes(flag);
      text = (text.split(flag).at(-1) ?? "").trim();
      if (had) text = text.split("\n")[0].split(". ")[0];
    }
  return text;
}

function cleaned(reply: string): string {
  const lower = reply.toLowerCase().replaceAll("{}", "");
  let text = /oxed\{([^]*)\}/.exec(lower)?.[1] ?? lower;
  const [open, close] = [text.indexOf("{"), text.indexOf("}")];
  if (close >= 0 && (open < 0 || close < open)) text = text.slice(0, close);
  text = text.split("=").at(-1) ?? "";
  text = text.split("\\approx").at(-1) ?? "";
  for (const gone of [
    " ",
    "\\,",
    "\n",
    "\\text",
    "\\mbox",
    "\\left",
    "\\right",
    "^{\\circ}",
    "^\\circ",
  ])
    text = text.replaceAll(gone, "");
  for (const unit of ["{m}^3", "m^3", "{units}", "units", "{km}", "km"])
    text = text.replaceAll(unit, "");
  return plainLatex(text.replaceAll("\\\\", "\\"));
}

function plainLatex(text: string): string {
  let out = text
    .replaceAll("\\!", "")
    .replaceAll(/[td]frac/g, "frac")
    .replaceAll(/\\\$|\$|\\%/g, "")
    .replaceAll("{.", "{0.");
  if (out.startsWith(".")) out = `0${out}`;
  if (out === "0.5") out = "\\frac{1}{2}";
  const slash = /^(-?\d+)\/(-?\d+)$/.exec(out);
  return slash === null ? out : `\\frac{${slash[1]}}{${slash[2]}}`;
}

/** Tuples and lists with their members worked out, as far as they can be. */
function withValues(text: string): string {
  const match = /^([([])([^]*)([)\]])$/.exec(text);
  if (match === null) return text;
  const members = match[2].split(",");
  const values = members.map((member) => valueOf(member));
  if (members.length < 2 || values.includes(null)) return text;
  return `${match[1]}${values.map((value) => rounded(value ?? 0)).join(",")}${match[3]}`;
}

function isNumber(text: string): boolean {
  return /^\s*[+-]?(?:\d+\.?\d*|\.\d+)(?:e[+-]?\d+)?\s*$/i.test(text);
}

function rounded(value: number): number {
  return Math.round(value * 100) / 100;
}
