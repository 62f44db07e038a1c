/**
 * A number in digits, with a unit or without; a truth may say how far off is still right, `3.43 ± 0.005`. One parser reads truths and answers alike, so that a
 * truth that is accepted can be met. Values are compared exactly, as decimals. Left out: number
 * words, fractions, decimal commas, and conversion between units.
 */
import { z } from "zod";
import type { Kind } from "./kind.ts";
import { stringMatch } from "./published-judges.ts";
import { readings } from "./readings.ts";
import { emptyProblem } from "./text.ts";
import { currencies, unitOf } from "./units.ts";

export const number: Kind<string> = {
  truth: z.string(),
  wants: "a text",
  problem: (truth) =>
    emptyProblem(truth) ??
    (targetIn(truth) === null ? { message: `"${truth}" is no number; use kind "text"` } : null),
  isRight: (answer, truth) => {
    const target = targetIn(truth);
    const said = quantityIn(answer);
    if (target === null || said === null) return false;
    const { right, tolerance } = target;
    return tolerance === null ? sameQuantity(said, right) : isNear(said, right, tolerance);
  },
  isRightRepo: (answer, truth) => stringMatch(truth, answer),
  words: {
    role: "You answer questions about an image with a number.",
    rule: "The answer is a number in digits.",
    example: "7",
  },
  asks: /^(?:how\s+(?:many|much|old|far|tall)\b|(?:what|which)\s+(?:is\s+the\s+)?(?:number|digit|amount|count|percentage|price|year)\b|count\b)/i,
  show: (truth) => ({ text: truth }),
};

export interface Quantity {
  /** Sign, digits and power of ten, one spelling a value: 1,250.0 is `125e1`. */
  readonly value: string;
  /** The unit's one spelling; null without one. */
  readonly unit: string | null;
}

/** The quantity that a text consists of; null for anything else. */
export function parseNumber(text: string): Quantity | null {
  const match = QUANTITY.exec(
    text
      .replaceAll(/\{,\}|\\,/g, ",")
      .replaceAll(/\s+/g, " ")
      .trim(),
  );
  const part = match?.groups;
  if (part === undefined) return null;
  const digits = (part.digits ?? "").replaceAll(/[, ]/g, "");
  const sign = part.sign ?? part.inner ?? "";
  if (digits === "." || (part.sign !== undefined && part.inner !== undefined)) return null;
  const suffix = (part.suffix ?? "").trim();
  const before = part.prefix === undefined ? null : unitOf(part.prefix);
  const after = suffix === "" ? null : unitOf(suffix);
  if (suffix !== "" && after === null) return null;
  if (before !== null && after !== null && before !== after) return null;
  const power = Number(part.e ?? part.power ?? 0);
  return { value: canonical(sign !== "" && sign !== "+", digits, power), unit: before ?? after };
}

const SIGN = String.raw`[+\-\u2013]`;
const CURRENCY = currencies.map((name) => name.replaceAll("$", String.raw`\$`)).join("|");
const DIGITS = String.raw`(?:\d{1,3}(?:,\d{3})+|\d{1,3}(?: \d{3})+|\d+)(?:\.\d*)?|\.\d+`;
const TIMES_TEN = String.raw` ?(?:[x\u00d7*\u00b7]|\\times) ?10 ?\^ ?[{(]?(?<power>[+-]?\d{1,4})[)}]?`;
const QUANTITY = new RegExp(
  String.raw`^(?<sign>${SIGN})? ?(?<prefix>${CURRENCY})? ?(?<inner>${SIGN})? ?` +
    String.raw`(?<digits>${DIGITS})(?:[eE](?<e>[+-]?\d{1,4})|${TIMES_TEN})?(?<suffix>[^\d.,].*)?$`,
  "s",
);

/** The truth's number, and how far an answer may lie from it; null: not at all. */
function targetIn(truth: string): { right: Quantity; tolerance: number | null } | null {
  const match = /^([^]+?)\s*(?:±|\+\/-|\\pm)\s*(\d+(?:\.\d+)?)$/.exec(truth.trim());
  const right = quantityIn(match?.[1] ?? truth);
  return right === null ? null : { right, tolerance: match === null ? null : Number(match[2]) };
}

/** Edges belong to it, as decimals: a distance of 0.1 in doubles is a little more than that. */
function isNear(said: Quantity, right: Quantity, tolerance: number): boolean {
  const distance = Math.abs(Number(said.value) - Number(right.value));
  const slack = 1e-12 * Math.max(1, Math.abs(Number(right.value)));
  return unitsAgree(said, right) && distance <= tolerance + slack;
}

/** The same value, exactly, with units that agree. */
export function sameQuantity(a: Quantity, b: Quantity): boolean {
  return a.value === b.value && unitsAgree(a, b);
}

/** A percentage is a number of its own; any other unit may be left out, but not be another one. */
function unitsAgree(said: Quantity, right: Quantity): boolean {
  if (said.unit === right.unit) return true;
  if (said.unit === "%" || right.unit === "%") return false;
  return said.unit === null || right.unit === null;
}

/** The quantity that an answer consists of, dressed or not; null for anything else. */
export function quantityIn(text: string): Quantity | null {
  for (const reading of readings(text)) {
    const quantity = parseNumber(reading);
    if (quantity !== null) return quantity;
  }
  return null;
}

function canonical(isNegative: boolean, digits: string, power: number): string {
  const [whole, fraction = ""] = digits.split(".");
  const significant = (whole + fraction).replace(/^0+/, "");
  const bare = significant.replace(/0+$/, "");
  if (bare === "") return "0";
  const exponent = power - fraction.length + significant.length - bare.length;
  return `${isNegative ? "-" : ""}${bare}e${exponent}`;
}
