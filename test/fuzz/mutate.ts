/** Sound input made unsound: bytes flipped, cut, doubled and swapped for values that readers trip over. */
import type { Rng } from "../../src/core/random.ts";

/** Changes a few places of `seed`; now and then none, so that sound input is among the cases. */
export function mutateBytes(seed: Uint8Array, random: Rng): Uint8Array {
  let bytes = Buffer.from(seed);
  for (let n = random.int(0, 4); n > 0; n--) bytes = mutateOnce(bytes, random);
  return bytes;
}

function mutateOnce(bytes: Buffer<ArrayBuffer>, random: Rng): Buffer<ArrayBuffer> {
  const at = random.int(0, Math.max(0, bytes.length - 1));
  const length = random.int(1, Math.max(1, Math.min(64, bytes.length - at)));
  const copy = Buffer.from(bytes);
  switch (random.int(0, 6)) {
    case 0:
      if (copy.length > 0) copy[at] ^= 1 << random.int(0, 7);
      return copy;
    case 1:
      return copy.fill(random.pick([0, 0xff, 0x7f, 0x80]), at, Math.min(copy.length, at + length));
    case 2:
      return copy.subarray(0, at);
    case 3:
      return Buffer.concat([copy.subarray(0, at), copy.subarray(at + length)]);
    case 4:
      return Buffer.concat([copy.subarray(0, at + length), copy.subarray(at)]);
    case 5:
      if (at + 4 <= copy.length)
        copy.writeInt32LE(random.pick([-1, 0, 0x7fffffff, -0x80000000, 1 << 30]), at);
      return copy;
    default:
      return Buffer.concat([copy, copy.subarray(at)]);
  }
}

const oddValues: readonly unknown[] = [
  null,
  true,
  0,
  -1,
  1e308,
  1e21,
  0.5,
  2 ** 53,
  "",
  " ",
  "\0",
  "\u202e",
  "..",
  "../../x",
  "\ud800",
  "NaN",
  "9".repeat(400),
  "x".repeat(5000),
  [],
  {},
  [[]],
  { "": 0 },
  [null],
  { box: [1, 2] },
  { box: [0, 0, 1e308, 1] },
];

/** A value with a few of its parts swapped for odd ones, left out, or joined by keys nobody knows. */
export function mutateValue(value: unknown, random: Rng): unknown {
  if (random.chance(0.12)) return random.pick(oddValues);
  if (Array.isArray(value)) {
    const kept = value.filter(() => !random.chance(0.05));
    return kept.map((entry) => mutateValue(entry, random));
  }
  if (typeof value !== "object" || value === null) return value;
  const entries: [string, unknown][] = [];
  for (const [key, entry] of Object.entries(value)) {
    if (random.chance(0.05)) continue;
    const name = random.chance(0.04) ? random.pick(oddKeys(key)) : key;
    entries.push([name, mutateValue(entry, random)]);
  }
  return Object.fromEntries(entries);
}

function oddKeys(key: string): string[] {
  return [
    key.toUpperCase(),
    `${key}s`,
    key.slice(1),
    "",
    "__proto__",
    "constructor",
    "a.b",
    "\x1b[2J",
  ];
}
