/**
 * A mathematical value: plain or LaTeX numbers, fractions, roots, powers, π, and tuples of them. Two are
 * the same when they read the same, when they are the same number with units that agree, or when both
 * work out to one value. Left out: algebra with letters, which compares as text. A reader of our own,
 * because its work is bounded by the length of a text: general systems take minutes for a long sum, and
 * a verdict that hangs on a time limit is not the same twice.
 */
import { z } from "zod";
import type { Kind } from "./kind.ts";
import { quantityIn, sameQuantity } from "./number.ts";
import { stringMatch } from "./published-judges.ts";
import { normalise, readings } from "./readings.ts";
import { emptyProblem } from "./text.ts";

export const maths: Kind<string> = {
  truth: z.string(),
  wants: "a text",
  problem: emptyProblem,
  isRight: (answer, truth) => readings(answer).some((reading) => sameValue(reading, truth)),
  isRightRepo: (answer, truth) => stringMatch(truth, answer),
  words: {
    role: "You solve mathematical problems about an image.",
    rule: "The answer is the value alone, as a number or in LaTeX.",
    example: "7",
  },
  show: (truth) => ({ text: truth }),
};

/** Whether two texts are one value. */
export function sameValue(answer: string, truth: string): boolean {
  const [a, b] = [plainMaths(answer), plainMaths(truth)];
  if (a === "" || b === "") return false;
  if (normalise(a) === normalise(b)) return true;
  const [p, q] = [quantityIn(a), quantityIn(b)];
  if (p !== null && q !== null) return sameQuantity(p, q);
  const [as, bs] = [membersOf(a), membersOf(b)];
  if (as !== null || bs !== null)
    return (
      as !== null && bs?.length === as.length && as.every((member, i) => sameValue(member, bs[i]))
    );
  const [x, y] = [valueOf(a), valueOf(b)];
  return x !== null && y !== null && Math.abs(x - y) <= 1e-9 * Math.max(1, Math.abs(x));
}

/** The number that an expression works out to; null for anything else. */
export function valueOf(text: string): number | null {
  if (text.length > maxLength) return null;
  const tokens = text.replaceAll(/\s+/g, "").match(TOKEN) ?? [];
  if (tokens.join("") !== text.replaceAll(/\s+/g, "")) return null;
  const value = new ExpressionReader(tokens).whole();
  return value !== null && Number.isFinite(value) ? value : null;
}

const maxLength = 400;
const maxDepth = 40;
const TOKEN =
  /\\(?:[dt]?frac|sqrt|times|cdot|div|pi)(?![A-Za-z])|\d+(?:,\d{3})+(?:\.\d+)?|\d+(?:\.\d+)?|\.\d+|[-+*/^(){}[\]π√×·÷]/g;
const SIGNS: Readonly<Record<string, string>> = {
  "\\times": "*",
  "\\cdot": "*",
  "×": "*",
  "·": "*",
  "\\div": "/",
  "÷": "/",
};

/** Takes off what says nothing of the value: `$`, `x =`, sizes of brackets, blanks of LaTeX, degrees. */
function plainMaths(text: string): string {
  return text
    .replaceAll(/\\(?:left|right|displaystyle|[,;:! ]|quad)(?![A-Za-z])|\$|~/g, "")
    .replaceAll(/\^\s*(?:\{\s*\\circ\s*\}|\\circ)|\\degree|°/g, "")
    .replaceAll(/\\(?:text|mathrm|textbf|mathbf)\s*\{([^{}]*)\}/g, "$1")
    .replaceAll("\\%", "%")
    .replaceAll(/\\[dt]?frac\s*(\d)\s*(\d)/g, "\\frac{$1}{$2}")
    .replaceAll("\u2212", "-")
    .trim()
    .replace(/^[A-Za-z]\s*=\s*(?=\S)/, "")
    .replace(/\.$/, "")
    .trim();
}

/** The members of a tuple or list in brackets; null for anything else. */
function membersOf(text: string): string[] | null {
  const inner = /^[([]([^]*)[)\]]$/.exec(text)?.[1];
  if (inner === undefined || !inner.includes(",") || text.length > maxLength) return null;
  const members: string[] = [""];
  let depth = 0;
  for (const char of inner) {
    if ("([{".includes(char)) depth++;
    if (")]}".includes(char)) depth--;
    if (depth < 0) return null;
    if (char === "," && depth === 0) members.push("");
    else members[members.length - 1] += char;
  }
  return members.length < 2 ? null : members;
}

/** Recursive descent over an expression's tokens; null is anything that is none. */
class ExpressionReader {
  private readonly tokens: readonly string[];
  private at = 0;
  private depth = 0;

  constructor(tokens: readonly string[]) {
    this.tokens = tokens;
  }

  whole(): number | null {
    const value = this.sum();
    return this.at === this.tokens.length ? value : null;
  }

  private sum(): number | null {
    if (++this.depth > maxDepth) return null;
    let value = this.product();
    while (value !== null && (this.next() === "+" || this.next() === "-")) {
      const sign = this.take() === "+" ? 1 : -1;
      const other = this.product();
      value = other === null ? null : value + sign * other;
    }
    this.depth--;
    return value;
  }

  private product(): number | null {
    let value = this.signed();
    while (value !== null) {
      const sign = SIGNS[this.next() ?? ""] ?? this.next();
      // `2\pi` and `2\sqrt{3}` are products; `2 3` and `2(3)` are not read.
      const isJoined = sign !== undefined && /^(?:\\sqrt|\\pi|π|√|\\[dt]?frac)$/.test(sign);
      if (sign !== "*" && sign !== "/" && !isJoined) break;
      if (!isJoined) this.at++;
      const other = this.signed();
      value = other === null ? null : sign === "/" ? value / other : value * other;
    }
    return value;
  }

  private signed(): number | null {
    let sign = 1;
    for (let count = 0; this.next() === "-" || this.next() === "+"; count++) {
      if (count > 1) return null;
      if (this.take() === "-") sign = -sign;
    }
    const value = this.power();
    return value === null ? null : sign * value;
  }

  private power(): number | null {
    const base = this.atom();
    if (base === null || this.next() !== "^") return base;
    this.at++;
    const isNegative = this.next() === "-";
    if (isNegative) this.at++;
    const exponent = this.atom();
    return exponent === null ? null : base ** (isNegative ? -exponent : exponent);
  }

  private atom(): number | null {
    const token = this.take();
    switch (token) {
      case "(":
        return this.closed(")");
      case "{":
        return this.closed("}");
      case "\\pi":
      case "π":
        return Math.PI;
      case "√":
        return rooted(this.atom(), 2);
      case "\\sqrt": {
        const degree = this.next() === "[" ? (this.at++, this.closed("]")) : 2;
        return degree === null ? null : rooted(this.argument(), degree);
      }
      case "\\frac":
      case "\\dfrac":
      case "\\tfrac": {
        const top = this.argument();
        const bottom = top === null ? null : this.argument();
        return top === null || bottom === null || bottom === 0 ? null : top / bottom;
      }
      default:
        return token !== undefined && /^[\d.]/.test(token)
          ? Number(token.replaceAll(",", ""))
          : null;
    }
  }

  /** `{…}`, or a single digit as in `\frac12`. */
  private argument(): number | null {
    if (this.next() === "{") {
      this.at++;
      return this.closed("}");
    }
    const token = this.take();
    return token !== undefined && /^\d$/.test(token) ? Number(token) : null;
  }

  private closed(close: string): number | null {
    const value = this.sum();
    return value !== null && this.take() === close ? value : null;
  }

  private next(): string | undefined {
    return this.tokens[this.at];
  }

  private take(): string | undefined {
    return this.tokens[this.at++];
  }
}

function rooted(value: number | null, degree: number): number | null {
  return value === null || value < 0 || degree === 0 ? null : value ** (1 / degree);
}
