/** What replies are made of: sentences with places, tags, calls, and what goes wrong in them. */
import type { Rng } from "../../src/core/random.ts";

const things = ["the red cup", "a small sign", "the search box", "her left hand", "the 2nd tile"];
const remarks = [
  "is in the corner",
  "looks like the target",
  "is partly hidden, but readable",
  "does not match the question",
  "says 'Sale 50%'",
];

export function place(random: Rng, most = 1200): string {
  const [x, y] = [random.int(0, most), random.int(0, most)];
  return random.chance(0.9) ? `(${x}, ${y})` : random.pick([`(${x},${y})`, `( ${x}, ${y} )`]);
}

export function sentence(random: Rng, most = 1200): string {
  const where = random.chance(0.75) ? ` ${place(random, most)}` : "";
  const more = random.chance(0.2) ? `, next to another at ${place(random, most)}` : "";
  const end = random.chance(0.9) ? "." : random.pick(["!", "?", "", ";"]);
  return `I see that ${random.pick(things)}${where} ${random.pick(remarks)}${more}${end}`;
}

/** Up to so many sentences; places lie in a picture of so many pixels a side. */
export function thought(random: Rng, length = 4, most = 1200): string {
  const gap = random.pick([" ", " ", "\n", "\n\n"]);
  return Array.from({ length: random.int(1, length) }, () => sentence(random, most)).join(gap);
}

/** Blanks, digits and cases that the two languages may take differently, tags and halves of tags. */
export const oddities = [
  "",
  " ",
  "\n",
  "\r\n",
  "\t",
  "\u00a0",
  "\u0085",
  "\ufeff",
  "\u2028",
  "\u001c",
  "\u3000",
  "\u200b",
  "\u0663",
  "\u0130",
  "\u00df",
  "\u03a3",
  "\ud83d\ude00",
  "<think>",
  "</think>",
  "<answer>",
  "</answer>",
  "<ANSWER>",
  "</Think>",
  "<tool_call>",
  "</tool_call>",
  "<observation>",
  "</observation>",
  "<image>",
  "</image>",
  "<|im_end|>",
  "(1, 2)",
  "(007, 8)",
  "(1.5, 2.)",
  "(-3, 4)",
  "(1e3, 2)",
  "[1, 2]",
  "(",
  ")",
  ",",
  "<",
  "{",
  "}",
  '"',
  "\\",
  "A. ",
  "b) ",
  "True",
  "NaN",
] as const;

/** Cuts, doubles and swaps a few places of a text, and puts oddities into it. */
export function disturbed(text: string, random: Rng): string {
  let out = text;
  for (let n = random.int(1, 4); n > 0; n--) {
    const at = random.int(0, out.length);
    const to = Math.min(out.length, at + random.int(1, 12));
    const odd = random.pick(oddities);
    switch (random.int(0, 4)) {
      case 0:
        out = out.slice(0, at) + out.slice(to);
        break;
      case 1:
        out = out.slice(0, to) + out.slice(at);
        break;
      case 2:
        out = out.slice(0, at);
        break;
      default:
        out = out.slice(0, at) + odd + out.slice(random.chance(0.5) ? at : to);
    }
  }
  // A half of a pair is no text that JSON could carry to Python.
  return out.replaceAll(/\p{Cs}/gu, "");
}
