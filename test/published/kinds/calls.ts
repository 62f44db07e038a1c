/** Tool calls: the coordinate that is read, and the box that is cut for it. */
import type { Rng } from "../../../src/core/random.ts";
import { patches14 } from "../../../src/image/fixtures/preprocessor.ts";
import { gradientImage } from "../../../src/task/fixtures/scene.ts";
import { kinds } from "../../../src/task/kinds.ts";
import { recordPictures } from "../../../src/task/pictures.ts";
import { makeTools, toolsSchema } from "../../../src/task/tools/table.ts";
import { useTool, type ToolSettings } from "../../../src/task/tools/use-tool.ts";
import { dialects } from "../../../src/text/dialects/table.ts";
import { promptSet } from "../../../src/text/prompts.ts";
import type { Kind } from "../kind.ts";
import { disturbed } from "../words.ts";

interface Input {
  readonly body: string;
}

const [widthPx, heightPx] = [112, 84];
// The picture is as large as it is seen, so that both frames are one.
const own = { minPixels: 1, maxPixels: 1e9 };
const pictures = recordPictures([gradientImage(widthPx, heightPx)], own, patches14);
const config: ToolSettings = {
  tools: makeTools(toolsSchema.parse({ zoom: { windowPx: 40, outputPx: 56, mode: "repo" } })),
  dialect: dialects.published,
  budget: own,
  preprocessor: patches14,
  coordinates: "resized",
};
const prompts = promptSet("nano", kinds.text.words);

export const calls: Kind<Input> = {
  name: "calls",
  make(random, style) {
    if (style === "model-like") return { body: callOf(random, plainNumber) };
    const body = callOf(random, oddNumber);
    return { body: random.chance(0.3) ? disturbed(body, random) : body };
  },
  ask: ({ body }) => [body, [widthPx, heightPx]],
  async ours({ body }) {
    const read = dialects.published.read(body);
    const coordinate = read.ok ? (read.call.args.coordinate ?? null) : null;
    const { picture } = await useTool(read, config, prompts, pictures, { seed: 0, turn: 0 });
    const at = picture?.box;
    const box = at === undefined ? null : [at.x0, at.y0, at.x1, at.y1];
    return { coordinate: JSON.parse(JSON.stringify(coordinate, spelled)) as unknown, box };
  },
  differences: [],
};

/** Numbers that JSON has no words for, as oracle.py spells them. */
function spelled(_: string, value: unknown): unknown {
  return typeof value === "number" && !Number.isFinite(value) ? String(value) : value;
}

function plainNumber(random: Rng): string {
  if (random.chance(0.8)) return String(random.int(0, 119));
  return random.pick(["-3", "57.5", "0.25", "1200", '"57"', "57."]);
}

function oddNumber(random: Rng): string {
  if (random.chance(0.5)) return String(random.int(-20, 140));
  return random.pick([
    "57.5",
    "1e2",
    "1E-2",
    "-0",
    "-0.0",
    "NaN",
    "Infinity",
    "-Infinity",
    "true",
    "false",
    "null",
    "1e400",
    "123456789012345678901234567890",
    '"57"',
    "007",
    "+5",
    ".5",
    "5.",
    "2147483648",
    "-2147483700",
  ]);
}

function callOf(random: Rng, number: (random: Rng) => string): string {
  const [x, y] = [number(random), number(random)];
  const pair = `[${x}, ${y}]`;
  const shapes = [
    `[${x}]`,
    `[${x}, ${y}, ${x}]`,
    `"(${x}, ${y})"`,
    `{"x": ${x}}`,
    `[[${x}, ${y}]]`,
  ];
  const coordinate = random.chance(0.85) ? pair : random.pick(shapes);
  const plain = `{"coordinate": ${coordinate}}`;
  const args = random.chance(0.8)
    ? plain
    : random.pick([
        `{"coordinate": ${coordinate}, "label": "a NaN, an Infinity"}`,
        `{"bbox_2d": [${x}, ${y}, 90, 80]}`,
        JSON.stringify(plain),
        "[]",
        "{}",
      ]);
  const call = `{"name": "search_coordinate", "arguments": ${args}}`;
  const written = random.chance(0.8)
    ? call
    : random.pick([
        `{"arguments": ${args}}`,
        `{"name": 7, "arguments": ${args}}`,
        `{"name": "click", "arguments": ${args}}`,
        `{"name": "crop", "parameters": ${args}}`,
        `[${call}]`,
        `{"name": "crop", "arguments": ${args},}`,
        `\`\`\`json\n${call}\n\`\`\``,
        call.replaceAll('"', "'"),
        `${call} or so`,
      ]);
  return random.pick([written, `\n${written}\n`, `  ${written}`]);
}
