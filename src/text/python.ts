/**
 * What Python takes a text for, where the published code is reproduced: which characters are blanks
 * and digits, what a dot in a pattern matches, and which literals are lists of ints. Its meaning of
 * these differs from JavaScript's.
 */

/** Blanks, as `str.strip` and `\s` have them: the body of a character class. */
export const PYTHON_BLANKS = String.raw`\t-\r\x1c-\x20\x85\xa0\u1680\u2000-\u200a\u2028\u2029\u202f\u205f\u3000`;

/** `str.strip()` */
export function pythonStrip(text: string): string {
  return text.replace(LEADING, "").replace(TRAILING, "");
}

export type IntsKind = "tuple" | "list" | "set";

export interface IntsLiteral {
  readonly kind: IntsKind;
  readonly values: readonly number[];
}

/**
 * What `ast.literal_eval` makes of a text, where that is a tuple, list or set whose members are all
 * ints (`True` counts as 1); null for any other value and for what it refuses.
 */
export function parseIntsLiteral(text: string): IntsLiteral | null {
  const tokens = tokenize(text.replace(/^[ \t]+/, ""));
  if (tokens === null) return null;
  const reader = new LiteralReader(tokens);
  const value = reader.whole();
  if (value === null || value.kind === "int") return null;
  const values = value.members.map((member) => (member.kind === "int" ? member.value : NaN));
  if (values.some(Number.isNaN)) return null;
  return { kind: value.kind, values: value.kind === "set" ? setOrder(values) : values };
}

/**
 * What `ast.literal_eval` makes of a text, where that is a list or tuple of strings (or of plain
 * numbers, which become their text); null for anything else.
 */
export function parseStringsLiteral(text: string): string[] | null {
  const inner = /^\s*[[(]([^]*)[\])]\s*$/.exec(text)?.[1];
  if (inner === undefined) return null;
  const members: string[] = [];
  MEMBER.lastIndex = 0;
  let isOpen = true;
  while (MEMBER.lastIndex < inner.length) {
    const match = MEMBER.exec(inner);
    if (match === null) return null;
    const { single, double, number, comma } = match.groups ?? {};
    if (comma !== undefined) {
      if (isOpen) return null;
      isOpen = true;
    } else if (single !== undefined || double !== undefined || number !== undefined) {
      if (!isOpen) return null;
      isOpen = false;
      members.push(number ?? unescaped(single ?? double ?? ""));
    }
  }
  return members;
}

const MEMBER =
  /\s+|(?<comma>,)|'(?<single>[^'\\\n]*(?:\\[^][^'\\\n]*)*)'|"(?<double>[^"\\\n]*(?:\\[^][^"\\\n]*)*)"|(?<number>[+-]?(?:\d+(?:\.\d*)?|\.\d+)(?![\w.]))/y;
const ESCAPES: Readonly<Record<string, string>> = { n: "\n", t: "\t", r: "\r", "\n": "" };

function unescaped(text: string): string {
  return text.replaceAll(/\\(?:x([\da-f]{2})|u([\da-f]{4})|([^]))/gi, (whole, x, u, one) => {
    const code = (x ?? u) as string | undefined;
    if (code !== undefined) return String.fromCharCode(parseInt(code, 16));
    const char = String(one);
    if (char in ESCAPES) return ESCAPES[char];
    return "\\'\"".includes(char) ? char : String(whole);
  });
}

const LEADING = new RegExp(`^[${PYTHON_BLANKS}]+`);
const TRAILING = new RegExp(`(?<![${PYTHON_BLANKS}])[${PYTHON_BLANKS}]+$`);
const TOKEN =
  /[ \t\f]+|\\\r?\n|(?<newline>\r\n|[\r\n])|#[^\r\n]*|(?<int>0[xX](?:_?[\da-fA-F])+|0[oO](?:_?[0-7])+|0[bB](?:_?[01])+|0(?:_?0)*|[1-9](?:_?\d)*)(?![\w.])|(?<word>True|False)(?!\w)|(?<mark>[-+()[\]{},])/y;

type Token = { readonly int: number } | { readonly bool: number } | { readonly mark: string };
type Value =
  | { readonly kind: "int"; readonly value: number }
  | { readonly kind: IntsKind; readonly members: readonly Value[] };

/** Tokens of a literal, or null at the first thing that no list of ints has. */
function tokenize(text: string): Token[] | null {
  const tokens: Token[] = [];
  let depth = 0;
  let isOver = false;
  TOKEN.lastIndex = 0;
  while (TOKEN.lastIndex < text.length) {
    const match = TOKEN.exec(text);
    if (match === null) return null;
    const { newline, int, word, mark } = match.groups ?? {};
    if (newline !== undefined) isOver ||= depth === 0 && tokens.length > 0;
    if (int === undefined && word === undefined && mark === undefined) continue;
    if (isOver) return null;
    if (mark !== undefined) {
      depth += "([{".includes(mark) ? 1 : ")]}".includes(mark) ? -1 : 0;
      if (depth > 100) return null;
      tokens.push({ mark });
    } else if (word !== undefined) tokens.push({ bool: Number(word === "True") });
    else tokens.push({ int: Number((int ?? "").replaceAll("_", "")) });
  }
  return tokens;
}

/** Recursive descent over a literal's tokens; null is a syntax error or another kind of value. */
class LiteralReader {
  private readonly tokens: readonly Token[];
  private at = 0;

  constructor(tokens: readonly Token[]) {
    this.tokens = tokens;
  }

  whole(): Value | null {
    const value = this.tupleOrOne();
    return this.at === this.tokens.length ? value : null;
  }

  /** `a`, or `a, b` without parentheses. */
  private tupleOrOne(): Value | null {
    const first = this.one();
    if (first === null || this.mark() !== ",") return first;
    const members = [first];
    while (this.take(",")) {
      if (this.at === this.tokens.length || this.mark() === ")") break;
      const next = this.one();
      if (next === null) return null;
      members.push(next);
    }
    return { kind: "tuple", members };
  }

  private one(): Value | null {
    if (this.take("(")) {
      if (this.take(")")) return { kind: "tuple", members: [] };
      const inner = this.tupleOrOne();
      return inner !== null && this.take(")") ? inner : null;
    }
    if (this.take("[")) return this.members("list", "]");
    if (this.take("{")) return this.mark() === "}" ? null : this.members("set", "}");
    const sign = this.take("-") ? -1 : this.take("+") ? 1 : 0;
    if (sign !== 0) return this.signed(sign);
    const token = this.tokens[this.at];
    if (token === undefined || "mark" in token) return null;
    this.at++;
    return { kind: "int", value: "bool" in token ? token.bool : token.int };
  }

  /** What a sign may stand before: a number, in parentheses or not. */
  private signed(sign: number): Value | null {
    if (this.take("(")) {
      const inner = this.signed(sign);
      return inner !== null && this.take(")") ? inner : null;
    }
    const token = this.tokens[this.at];
    if (token === undefined || !("int" in token)) return null;
    this.at++;
    return { kind: "int", value: sign < 0 && token.int !== 0 ? -token.int : token.int };
  }

  private members(kind: "list" | "set", close: string): Value | null {
    const members: Value[] = [];
    while (!this.take(close)) {
      const next = this.one();
      if (next === null || (!this.take(",") && this.mark() !== close)) return null;
      members.push(next);
    }
    return { kind, members };
  }

  private mark(): string | undefined {
    const token = this.tokens[this.at];
    return token !== undefined && "mark" in token ? token.mark : undefined;
  }

  private take(mark: string): boolean {
    if (this.mark() !== mark) return false;
    this.at++;
    return true;
  }
}

/** The order in which CPython walks a set of so many small ints: by their place in a table of 8. */
function setOrder(values: readonly number[]): number[] {
  const slots: (number | undefined)[] = Array.from({ length: 8 });
  const members = [...new Set(values)];
  if (members.length > 4) return members;
  for (const value of members) {
    const hash = BigInt(value === -1 ? -2 : value);
    let perturb = BigInt.asUintN(64, hash);
    let slot = Number(perturb & 7n);
    while (slots[slot] !== undefined) {
      perturb >>= 5n;
      slot = Number((BigInt(slot) * 5n + 1n + perturb) & 7n);
    }
    slots[slot] = value;
  }
  return slots.filter((value) => value !== undefined);
}
