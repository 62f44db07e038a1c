import { expect, test } from "vitest";
import { patches14 } from "../../image/fixtures/preprocessor.ts";
import type { RgbImage } from "../../image/decode.ts";
import type { PixelBudget } from "../../image/model-image.ts";
import { dialects } from "../../text/dialects/table.ts";
import { promptSet } from "../../text/prompts.ts";
import { gradientImage } from "../fixtures/scene.ts";
import { kinds } from "../kinds.ts";
import { recordPictures, type Picture } from "../pictures.ts";
import { blank, elsewhere, type ToolControl } from "./controls.ts";
import { makeTools, toolsSchema } from "./table.ts";
import { useTool, type ToolSettings } from "./use-tool.ts";

const budget = { minPixels: 12_544, maxPixels: 12_544 };
const prompts = promptSet("nano", kinds.text.words);
const pictures = recordPictures([gradientImage(448, 448)], budget, patches14);

interface Asked {
  readonly settings?: object;
  readonly coordinates?: "resized" | "relative";
  readonly control?: ToolControl;
  readonly seed?: number;
  readonly turn?: number;
  readonly pictures?: readonly Picture[];
  readonly budget?: PixelBudget;
}

async function ask(args: Record<string, unknown>, asked: Asked = {}) {
  const { settings = {}, coordinates = "resized", control, seed = 1, turn = 0 } = asked;
  const zoom = { windowPx: 12, outputPx: 112, ...settings };
  const tools = makeTools(toolsSchema.parse({ zoom })).flatMap((tool) => {
    const changed = control === undefined ? tool : control(tool);
    return changed === null ? [] : [changed];
  });
  const config: ToolSettings = {
    tools,
    dialect: dialects.vigorl,
    budget: asked.budget ?? budget,
    preprocessor: patches14,
    coordinates,
  };
  const call = { ok: true, call: { name: "crop", args } } as const;
  return useTool(call, config, prompts, asked.pictures ?? pictures, { seed, turn });
}

async function shown(args: Record<string, unknown>, asked: Asked = {}) {
  const { use, picture } = await ask(args, asked);
  if (picture === null) throw new Error(use.fault ?? "nothing");
  return { use, picture };
}

const sized = ({ widthPx, heightPx }: RgbImage) => ({ widthPx, heightPx });

test("source: seen shows the same window with no more detail than the model saw", async () => {
  const widthPx = 448;
  const data = Uint8Array.from({ length: widthPx * widthPx * 3 }, (_, i) =>
    Math.floor(i / 3) % 2 === 0 ? 0 : 255,
  );
  const striped = recordPictures([{ widthPx, heightPx: widthPx, data }], budget, patches14);
  const spread = async (source: string) => {
    const { picture } = await shown(
      { coordinate: [57, 83] },
      { settings: { source }, pictures: striped },
    );
    const { data: seen } = picture.seen;
    return { box: picture.box, spread: Math.max(...seen) - Math.min(...seen) };
  };
  const [original, seen] = [await spread("original"), await spread("seen")];
  expect(seen.box).toEqual(original.box);
  expect(original.spread).toBeGreaterThan(200);
  expect(seen.spread).toBeLessThan(40);
});

test("shows the original pixels around the place", async () => {
  const { picture } = await shown({ coordinate: [57, 83] });
  expect(picture.box).toEqual({ frame: "original", x0: 204, y0: 308, x1: 252, y1: 356 });
  const { data } = picture.seen;
  const middle = (56 * 112 + 56) * 3;
  expect(Math.abs(data[middle] - 228)).toBeLessThanOrEqual(1);
  expect(Math.abs(data[middle + 1] - (332 % 256))).toBeLessThanOrEqual(1);
});

test("thousandths mean the same place", async () => {
  const a = await shown({ coordinate: [500, 250] }, { coordinates: "relative" });
  const b = await shown({ coordinate: [56, 28] });
  expect(a.picture.seen.hash).toBe(b.picture.seen.hash);
  expect(a.use.at).toEqual(b.use.at);
});

test("a box shows itself, as large as the output", async () => {
  const { use, picture } = await shown({ bbox_2d: [20, 30, 60, 50] });
  expect(picture.box).toEqual({ frame: "original", x0: 80, y0: 120, x1: 240, y1: 200 });
  expect(sized(picture.seen)).toEqual({ widthPx: 112, heightPx: 56 });
  expect(use.at).toEqual({ picture: 0, x: 40, y: 40 });
});

test.each<[string, Record<string, unknown>, string]>([
  ["right of the image", { coordinate: [112, 5] }, "outside"],
  ["above it", { coordinate: [5, -1] }, "outside"],
  ["a box outside", { bbox_2d: [120, 0, 140, 20] }, "outside"],
  ["a reversed box", { bbox_2d: [20, 20, 10, 10] }, "noArea"],
  ["a box thinner than a pixel", { bbox_2d: [0.2, 0.2, 0.5, 20] }, "noArea"],
  ["no place", {}, "noPlace"],
  ["words for a place", { coordinate: ["57", "83"] }, "noPlace"],
  ["two places", { coordinate: [5, 5], bbox_2d: [0, 0, 10, 10] }, "badArguments"],
  ["a place that is not read", { coordinate: [5, 5], region: "left" }, "badArguments"],
  ["a picture that is not there", { coordinate: [5, 5], img_idx: 1 }, "noPicture"],
  ["a picture by name", { coordinate: [5, 5], image: "first" }, "noPicture"],
  ["two pictures", { coordinate: [5, 5], img_idx: 0, target_image: 1 }, "badArguments"],
  ["an infinite place", { coordinate: [Infinity, 5] }, "noPlace"],
])("%s is a fault, which is told", async (_, args, fault) => {
  const { use, picture } = await ask(args);
  expect(picture).toBeNull();
  expect(use).toMatchObject({ fault, gives: null, at: null, text: "no" });
});

test("a label and nulls say nothing", async () => {
  const plain = await shown({ coordinate: [57, 83] });
  const args = { coordinate: [57, 83], label: "a star", img_idx: null, reason: "small" };
  expect((await shown(args)).picture.seen.hash).toBe(plain.picture.seen.hash);
});

test("a place in a crop is cut from the record's own pixels", async () => {
  const first = await shown({ coordinate: [57, 83] }, { settings: { windowPx: 56 } });
  const all = [...pictures, first.picture];
  const { use, picture } = await shown({ coordinate: [56, 56], img_idx: 1 }, { pictures: all });
  // The crop shows 224 pixels in 112, so a window of 12 of them is 24 wide.
  expect(picture.box).toEqual({ frame: "original", x0: 216, y0: 320, x1: 240, y1: 344 });
  expect(use).toMatchObject({ reads: 1, gives: 2, at: { picture: 0, x: 57, y: 83 } });
  expect(sized(picture.pixels())).toEqual({ widthPx: 24, heightPx: 24 });
});

test("control blank: the same size, all black", async () => {
  const seen = await shown({ coordinate: [57, 83] });
  const black = await shown({ coordinate: [57, 83] }, { control: blank });
  expect(black.picture.seen.data.every((level) => level === 0)).toBe(true);
  expect(black.picture.pixels().data.every((level) => level === 0)).toBe(true);
  expect(black.picture.seen.grid).toEqual(seen.picture.seen.grid);
  expect(black.use).toEqual({ ...seen.use, control: "blank" });
});

test("control elsewhere: a window away, the same for the same seed and turn", async () => {
  const boxAt = async (seed: number, turn: number) => {
    const asked = { control: elsewhere, seed, turn };
    const { use, picture } = await shown({ coordinate: [57, 83] }, asked);
    expect(use.at).toEqual({ picture: 0, x: 57, y: 83 });
    return picture.box;
  };
  expect(await boxAt(1, 0)).toEqual(await boxAt(1, 0));
  expect(await boxAt(1, 0)).not.toEqual(await boxAt(2, 0));
  expect(await boxAt(1, 0)).not.toEqual(await boxAt(1, 1));
  for (let seed = 0; seed < 50; seed++) {
    const { x0, y0 } = await boxAt(seed, 0);
    expect(Math.max(Math.abs(x0 - 204), Math.abs(y0 - 308))).toBeGreaterThan(40);
  }
});

test("the published rule takes points in the image before its sides are rounded", async () => {
  const image = gradientImage(400, 290);
  const own = recordPictures([image], { minPixels: 3136, maxPixels: 1e6 }, patches14);
  expect(sized(own[0].seen)).toEqual({ widthPx: 392, heightPx: 280 });
  const boxOf = async (settings: object) => {
    const large = { minPixels: 3136, maxPixels: 1e6 };
    const asked = { settings: { windowPx: 40, ...settings }, pictures: own, budget: large };
    const { x0, y0, x1, y1 } = (await shown({ coordinate: [300, 140] }, asked)).picture.box;
    return [x0, y0, x1, y1].map(Math.round);
  };
  expect(await boxOf({ mode: "repo" })).toEqual([280, 120, 320, 160]);
  expect(await boxOf({ mode: "repo", frame: "seen" })).toEqual([286, 124, 327, 166]);
});
