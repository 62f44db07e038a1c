/** What every tool of the table has to do; a new one is tested by its line there. */
import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { describe, expect, test } from "vitest";
import { z } from "zod";
import { patches14 } from "../../image/fixtures/preprocessor.ts";
import { copyImage, imageCanvas } from "../../image/draw.ts";
import { dialectNames, dialects } from "../../text/dialects/table.ts";
import { formatTurn, parseTurn } from "../../text/grammar.ts";
import { runEpisode } from "../episode.ts";
import { answerTurn, chat, digitRecord, gradientImage, smallConfig } from "../fixtures/scene.ts";
import { ScriptedSampler } from "../fixtures/scripted-sampler.ts";
import { recordPictures } from "../pictures.ts";
import type { TaskRecord } from "../record.ts";
import * as controls from "./controls.ts";
import { drawnOn, drawUse } from "./draw-use.ts";
import { toolOf, toolTable } from "./table.ts";
import type { ToolKind } from "./tool.ts";

const keys = Object.keys(toolTable);
const budget = { minPixels: 12_544, maxPixels: 12_544 };
const pixels = gradientImage(448, 448);
const [picture] = recordPictures([pixels], budget, patches14);

/** The example of a tool, brought into the small picture of the tests. */
function exampleOf(key: string) {
  const { name, args } = toolOf(key)!.describe("resized").example;
  const small = (value: unknown): unknown =>
    Array.isArray(value) ? value.map(small) : typeof value === "number" ? value / 5 : value;
  return { name, args: Object.fromEntries(Object.entries(args).map(([k, v]) => [k, small(v)])) };
}

/** Settings for so small a picture, where the usual ones are too large. */
const smaller: Record<string, object> = { zoom: { windowPx: 12, outputPx: 112 } };

const play = (key: string, settings: Parameters<typeof smallConfig>[0] = {}) => {
  const dialect = dialects[settings.dialect ?? "vigorl"];
  const call = formatTurn({ think: "look", toolCall: exampleOf(key) }, "inline", dialect);
  const script = [call, answerTurn("7")];
  const sampler = new ScriptedSampler(chat.tokenizer, script);
  return runEpisode(
    sampler,
    digitRecord,
    smallConfig({ tools: { [key]: smaller[key] ?? {} }, ...settings }),
    7,
  );
};

describe.each(keys)("%s", (key) => {
  const kind = (toolTable as Record<string, ToolKind<z.ZodType>>)[key];
  const tool = toolOf(key)!;

  test("has settings with defaults, a schema of its arguments, and words that show a call", () => {
    expect(kind.settings.parse({})).toEqual(tool.settings);
    const schema = z.toJSONSchema(tool.args, { unrepresentable: "any" });
    expect(Object.keys(schema.properties ?? {}).length).toBeGreaterThan(0);
    for (const property of Object.values(schema.properties ?? {}))
      expect(property).toHaveProperty("description");
    for (const coordinates of ["resized", "relative"] as const) {
      const { ability, use, action, example } = tool.describe(coordinates);
      for (const words of [ability, use, action]) expect(words).not.toBe("");
      expect(tool.names).toContain(example.name);
      expect(tool.args.safeParse(example.args).success).toBe(true);
    }
  });

  test.each(dialectNames.filter((name) => name !== "published"))(
    "its example goes through the dialect %s",
    async (name) => {
      const dialect = dialects[name];
      const call = exampleOf(key);
      const said = formatTurn({ think: "look", toolCall: call }, "inline", dialect);
      const read = dialect.isNameless ? { ...call, name: null } : call;
      expect(parseTurn(said, dialect).toolCall).toMatchObject({ ok: true, call: read });
      const episode = await play(key, { dialect: name });
      expect(episode).toMatchObject({ stopReason: "answered", wellFormed: true });
    },
  );

  test("an episode records what it read, where, and what came back", async () => {
    const { toolUses, pictures, tools, chunks } = await play(key);
    expect(tools).toEqual([key]);
    expect(toolUses).toMatchObject([{ tool: key, turn: 0, fault: null, control: null }]);
    const [{ gives }] = toolUses;
    if (!tool.givesPicture) return;
    expect(pictures[gives!]).toMatchObject({ tool: key, turn: 0 });
    const [, shown] = chunks.filter((chunk) => chunk.type === "image");
    expect(shown).toMatchObject({ picture: gives, image: { hash: pictures[gives!].imageHash } });
  });

  test("is drawn on the picture that it looked at", async () => {
    const { toolUses, pictures } = await play(key);
    const played = { pictures, coordinates: "resized" as const };
    const drawn = copyImage(pixels);
    expect(drawnOn(toolUses[0], played)).toBe(0);
    drawUse(toolUses[0], played, imageCanvas(drawn));
    expect(drawn.data).not.toEqual(pixels.data);
  });

  test("works under every control", async () => {
    const plain = await play(key);
    for (const [name, control] of Object.entries(controls)) {
      const { toolUses, pictures, tools, stopReason } = await play(key, { control });
      if (name === "none") {
        expect([tools, toolUses, stopReason]).toEqual([[], [], "noAnswer"]);
        continue;
      }
      expect(toolUses).toMatchObject([{ tool: key, fault: null, control: name }]);
      if (tool.givesPicture) expect(pictures[1].imageHash).not.toBe(plain.pictures[1].imageHash);
    }
  });

  test("refuses a picture that is not there, and a place or picture that it does not read", () => {
    const { args } = exampleOf(key);
    expect(tool.args.safeParse({ ...args, frame: 2 }).success).toBe(false);
    expect(tool.args.safeParse({ ...args, region: "left" }).success).toBe(false);
    expect(tool.args.safeParse({ ...args, reason: "small" }).success).toBe(true);
  });
});

test("tools are named in their table alone", () => {
  const source = new URL("../../", import.meta.url).pathname;
  const elsewhere = readdirSync(source, { recursive: true, encoding: "utf8" }).filter((file) => {
    if (!file.endsWith(".ts") || file.endsWith(".test.ts") || file.startsWith("task/tools/"))
      return false;
    // The text room lies above the tools and knows none; it may use their words.
    if (file.includes("fixtures") || file.startsWith("text/")) return false;
    const text = readFileSync(join(source, file), "utf8");
    return keys.some((key) => text.includes(`"${key}"`));
  });
  expect(elsewhere).toEqual([]);
});

describe("questions with several pictures", () => {
  const flat = (red: number, blue: number) => {
    const data = new Uint8Array(448 * 448 * 3);
    for (let i = 0; i < data.length; i += 3) data.set([red, 0, blue], i);
    return { widthPx: 448, heightPx: 448, data };
  };
  const record: TaskRecord = {
    ...digitRecord,
    images: [
      { kind: "render", name: "red", render: () => flat(200, 0) },
      { kind: "render", name: "blue", render: () => flat(0, 200) },
    ],
  };
  const ask = async (args: object, then: readonly string[] = [], settings = {}) => {
    const call = JSON.stringify({ name: "image_zoom_in_tool", arguments: args });
    const said = `<think> look (57, 83) </think>\n<tool_call>${call}</tool_call>`;
    const sampler = new ScriptedSampler(chat.tokenizer, [said, ...then, answerTurn("7")]);
    return runEpisode(sampler, record, smallConfig({ ...settings }), 7);
  };

  test.each(["img_idx", "image_index", "image_idx", "target_image", "image"])(
    "%s says which one is looked at",
    async (key) => {
      for (const index of [0, 1]) {
        const { chunks, toolUses, pictures } = await ask({
          bbox_2d: [40, 60, 80, 100],
          [key]: index,
        });
        const images = chunks.filter((chunk) => chunk.type === "image");
        const crop = images[2].image;
        expect(Array.from(crop.data.subarray(0, 3))).toEqual(
          index === 0 ? [200, 0, 0] : [0, 0, 200],
        );
        expect(toolUses).toMatchObject([{ reads: index, gives: 2, at: { picture: index } }]);
        expect(pictures[2]).toMatchObject({ of: index });
      }
    },
  );

  test("without one the first is meant, and one beyond the last is a fault", async () => {
    expect((await ask({ coordinate: [5, 5] })).toolUses).toMatchObject([{ reads: 0 }]);
    expect((await ask({ coordinate: [5, 5], img_idx: 2 })).toolUses).toMatchObject([
      { fault: "noPicture", gives: null },
    ]);
  });

  test("pictures of the question do not eat the budget of tools", async () => {
    const call = JSON.stringify({ name: "crop", arguments: { coordinate: [20, 20], img_idx: 2 } });
    const again = `<think> closer </think>\n<tool_call>${call}</tool_call>`;
    const limits = { episode: { maxToolImages: 2 } };
    const { pictures, forced } = await ask(
      { coordinate: [50, 50] },
      [again, " 7 </answer>"],
      limits,
    );
    expect(pictures.map(({ tool, of }) => [tool, of])).toEqual([
      [null, 0],
      [null, 1],
      ["zoom", 0],
      ["zoom", 0],
    ]);
    expect(forced).toBe(true);
  });
});

test("a line is drawn on the picture, which comes back whole and can be enlarged", async () => {
  const tools = { zoom: { windowPx: 12, outputPx: 112 }, mark: { widthPx: 4 } };
  const script = [
    { name: "mark", args: { coordinate: [20, 50], to: [90, 50] } },
    { name: "crop", args: { coordinate: [56, 50], img_idx: 1 } },
  ].map((toolCall) => formatTurn({ think: "see", toolCall }));
  const sampler = new ScriptedSampler(chat.tokenizer, [...script, answerTurn("7")]);
  const { toolUses, pictures, chunks } = await runEpisode(
    sampler,
    digitRecord,
    smallConfig({ tools }),
    7,
  );
  expect(toolUses).toMatchObject([
    { tool: "mark", reads: 0, gives: 1, place: { kind: "line", x0: 20, y0: 50, x1: 90, y1: 50 } },
    { tool: "zoom", reads: 1, gives: 2, at: { picture: 0, x: 56, y: 50 } },
  ]);
  expect(pictures[1]).toMatchObject({ of: 0, box: [0, 0, 448, 448], widthPx: 112 });
  const [whole, marked, crop] = chunks.flatMap((chunk) =>
    chunk.type === "image" ? [chunk.image] : [],
  );
  expect(whole.hash).toBe(picture.seen.hash);
  const redAt = ({ data, widthPx }: typeof crop, x: number, y: number) =>
    Array.from(data.subarray((y * widthPx + x) * 3, (y * widthPx + x) * 3 + 3));
  expect(redAt(marked, 56, 50)[0]).toBeGreaterThan(redAt(whole, 56, 50)[0]);
  expect(redAt(crop, 56, 56)).toEqual([255, 0, 0]);
});
