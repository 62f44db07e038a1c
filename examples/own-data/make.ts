/**
 * Makes the data of this example: 300 pictures of a coloured shape each, what somebody might have
 * labelled by hand: 210 to train on, 30 to choose the checkpoint by, 60 held out. Deterministic.
 *
 *   npx tsx examples/own-data/make.ts [folder]
 */
import { mkdirSync, writeFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";
import sharp from "sharp";

const folder = process.argv[2] ?? dirname(fileURLToPath(import.meta.url));
const colours = {
  red: "#d33",
  green: "#2a2",
  blue: "#36d",
  yellow: "#dc2",
  purple: "#83b",
  black: "#222",
};
const shapes: Record<string, (r: number) => string> = {
  circle: (r) => `<circle r="${r}"/>`,
  square: (r) => `<rect x="${-r}" y="${-r}" width="${2 * r}" height="${2 * r}"/>`,
  triangle: (r) => `<path d="M0 ${-r}L${r} ${r}L${-r} ${r}Z"/>`,
  ring: (r) =>
    `<circle r="${0.8 * r}" fill="none" stroke="currentColor" stroke-width="${0.4 * r}"/>`,
};

/** Whole numbers below `below`, the same every time (a linear congruential generator). */
let state = 1;
function draw(below: number): number {
  state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
  return Math.floor((state / 2 ** 32) * below);
}
const pick = <T>(list: readonly T[]): T => list[draw(list.length)];

mkdirSync(join(folder, "pictures"), { recursive: true });
const lines: string[] = [];
for (let i = 0; i < 300; i++) {
  const [colour, shape] = [pick(Object.keys(colours)), pick(Object.keys(shapes))];
  const radius = 16 + draw(14);
  const at = `${radius + draw(112 - 2 * radius)} ${radius + draw(112 - 2 * radius)}`;
  const ground = `hsl(${draw(360)} 25% ${70 + draw(25)}%)`;
  const tint = colours[colour as keyof typeof colours];
  const svg = `<svg xmlns="http://www.w3.org/2000/svg" width="112" height="112"><rect width="112" height="112" fill="${ground}"/><g transform="translate(${at})" fill="${tint}" color="${tint}">${shapes[shape](radius)}</g></svg>`;
  const image = `pictures/${i}.png`;
  await sharp(Buffer.from(svg)).png().toFile(join(folder, image));
  lines.push(
    JSON.stringify({
      image,
      question: "What is it?",
      answer: `${colour} ${shape}`,
      category: shape,
    }),
  );
}
const parts = { train: [0, 210], validation: [210, 240], heldout: [240, 300] };
for (const [name, [from, to]] of Object.entries(parts))
  writeFileSync(join(folder, `${name}.jsonl`), `${lines.slice(from, to).join("\n")}\n`);
process.stdout.write(`${lines.length} pictures in ${folder}\n`);
