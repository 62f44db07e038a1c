/** Literals of ints, which rewards and judges read as Python does. */
import type { Rng } from "../../../src/core/random.ts";
import { parseIntsLiteral } from "../../../src/text/python.ts";
import type { Kind } from "../kind.ts";
import { disturbed, oddities, place } from "../words.ts";

export const literals: Kind<string> = {
  name: "literals",
  make(random, style) {
    if (style === "model-like") return random.pick([place(random), listOf(random, plainInt)]);
    const text = listOf(random, oddInt);
    return random.chance(0.3) ? disturbed(text, random) : text;
  },
  ask: (text) => [text],
  ours(text) {
    const literal = parseIntsLiteral(text);
    return literal === null ? null : [literal.kind, literal.values];
  },
  differences: [
    {
      isRare: true,
      reason: "ints of more than 53 bits lose digits: no picture is as large",
      covers: (text) => /\d{16}|0x[\da-f_]{14}/i.test(text),
    },
    {
      isRare: true,
      reason: "sets of more than five members or of large ints stand in another order",
      covers: (_, published) => Array.isArray(published) && published[0] === "set",
    },
  ],
};

const plainInt = (random: Rng) => String(random.int(0, 2000));

function oddInt(random: Rng): string {
  if (random.chance(0.5)) return plainInt(random);
  return random.pick([
    "0x1F",
    "0o17",
    "0b11",
    "1_0",
    "1__0",
    "_1",
    "00",
    "01",
    "True",
    "False",
    "None",
    "-5",
    "- 5",
    "--5",
    "+5",
    "-(5)",
    "(7)",
    "((7))",
    "1.0",
    "1e1",
    "1j",
    "'1'",
    "5.",
    "[6]",
    "(8,)",
    "*[1]",
    "",
    ...oddities,
  ]);
}

function listOf(random: Rng, member: (random: Rng) => string): string {
  const isPlain = member === plainInt;
  const gap = random.pick([", ", ",", " , ", ",\n", ", "]);
  const members = Array.from({ length: random.int(1, 5) }, () => member(random)).join(gap);
  const [open, close] = random.pick([
    ["(", ")"],
    ["(", ")"],
    ["[", "]"],
    [isPlain ? "[" : "{", isPlain ? "]" : "}"],
    ["", ""],
    ["((", "))"],
    ["(", ",)"],
    ["(", ") # here"],
  ] as const);
  return open + members + close;
}
