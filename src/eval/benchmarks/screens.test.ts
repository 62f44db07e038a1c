/** ScreenSpot, its second version and OSWorld-G: layouts, hand-checked scores, published vectors. */
import { expect, test } from "vitest";
import type { TaskRecord } from "../../task/record.ts";
import { png, put, putJson, putParquet, tempFolder } from "./fixtures/published.ts";
import { boxRecord, readOf, verdictOf } from "./fixtures/vectors.ts";
import { loadBenchmark } from "./load.ts";
import { osworldG } from "./osworld-g.ts";
import { screenspot, screenspotV2 } from "./screenspot.ts";
import { figuresOf, score } from "./score.ts";

const open = {
  img_filename: "mobile_0001.png",
  bbox: [40, 110, 95, 17],
  instruction: "open saved articles",
  data_type: "text",
  data_source: "ios",
};

test("ScreenSpot: JSON with width and height, and the copy with shares, are one set of boxes", async () => {
  const folder = await tempFolder();
  putJson(folder, "screenspot_mobile.json", [open]);
  putJson(folder, "screenspot_web.json", [
    { ...open, img_filename: "web_1.png", data_source: "shop", data_type: "icon" },
  ]);
  for (const name of ["mobile_0001.png", "web_1.png"])
    put(folder, `screenspot_imgs/${name}`, await png(200, 400));
  const { records } = await loadBenchmark(screenspot, folder);
  expect(records.map(({ answer, category }) => [answer, category])).toEqual([
    [{ box: [40, 110, 135, 127] }, "mobile text"],
    [{ box: [40, 110, 135, 127] }, "web icon"],
  ]);
  const copy = await tempFolder();
  await putParquet(
    copy,
    "data/test-00000-of-00001.parquet",
    {
      image: "image",
      bbox: "doubles",
      instruction: "text",
      data_type: "text",
      data_source: "text",
    },
    [{ ...open, image: await png(200, 400), bbox: [0.25, 0.5, 0.5, 0.75] }],
  );
  const copied = await loadBenchmark(screenspot, copy);
  expect(copied.records[0].answer).toEqual({ box: [50, 200, 100, 300] });
  const scored = records.map((record, i) => ({
    record,
    verdict: score(screenspot, "ours", record, {
      text: "",
      answer: ["(40, 110)", "(135, 127)"][i],
      view: null,
    }),
  }));
  const figures = figuresOf(screenspot, "official", scored).map(({ name, value }) => [name, value]);
  expect(figures.slice(0, 2)).toEqual([
    ["mean of the six cells", 0.5],
    ["overall", 0.5],
  ]);
});

test("pixels where shares are published, and corners where width and height are, are refused", async () => {
  const copy = await tempFolder();
  await putParquet(
    copy,
    "data/test-00000-of-00001.parquet",
    {
      image: "image",
      bbox: "doubles",
      instruction: "text",
      data_type: "text",
      data_source: "text",
    },
    [{ ...open, image: await png(200, 400) }],
  );
  await expect(loadBenchmark(screenspotV2, copy)).rejects.toThrow(/row 1: box .* is empty/);
  const folder = await tempFolder();
  putJson(folder, "screenspot_web_v2.json", [{ ...open, bbox: [120, 110, 195, 127] }]);
  put(folder, "screenspotv2_image/mobile_0001.png", await png(200, 400));
  await expect(loadBenchmark(screenspotV2, folder)).rejects.toThrow(
    /box \[120, 110, 195, 127\] reaches out of the 200×400 picture/,
  );
});

const target = (box: [number, number, number, number], published: number[], size = [1000, 500]) =>
  boxRecord(box, size as [number, number], {
    category: "web text",
    facts: { published, convention: "xywh pixels" },
  });

test("SeeClick and lmms-eval read points and boxes of version 1", () => {
  const record = target([40, 115, 142, 155], [42, 115, 100, 40]);
  const read = (protocol: string, reply: string) => readOf(screenspot, protocol, record, reply);
  expect(read("official", "(0.49,0.40)")).toBe("(0.49, 0.4)");
  expect(read("official", "(0.1,0.2,0.3,0.6)")).toMatch(/^\(0\.2, 0\.4\)$/);
  expect(read("official", "Point 1: (0.5,0.5)")).toBe("unread");
  expect(read("lmms-eval", "(100, 200, 300, 400)")).toBe("(0.2, 0.30000000000000004)");
  expect(read("lmms-eval", "[0.1, 0.2]")).toBe("(0, 0)");
  expect(verdictOf(screenspot, "lmms-eval", record, "[0.1, 0.2]").score).toBe(0);
  expect(read("vlmevalkit", "pyautogui.click(x=512,y=300)")).toBe("(0, 0)");
  expect(read("vlmevalkit", "(512, 300)")).toBe("(0, 0)");
});

test("the far edge: in for SeeClick, out for VLMEvalKit", () => {
  const record = target([42, 115, 142, 155], [42, 115, 100, 40]);
  expect(verdictOf(screenspot, "official", record, "(0.142, 0.31)").score).toBe(1);
  expect(verdictOf(screenspot, "vlmevalkit", record, "click(x=142, y=155)").score).toBe(0);
  expect(verdictOf(screenspot, "vlmevalkit", record, "click(x=141, y=154)").score).toBe(1);
});

test("VLMEvalKit totals a type by the squares of its cells", () => {
  const cell = (category: string, right: number, n: number) =>
    Array.from({ length: n }, (_, i) => ({
      record: boxRecord([0, 0, 1, 1], [9, 9], { category, facts: { type: "text" } }),
      verdict: { score: Number(i < right), read: "", how: "read" as const },
    }));
  const scored = [...cell("mobile text", 9, 10), ...cell("web text", 0, 2)];
  const figures = figuresOf(screenspot, "vlmevalkit", scored);
  const value = (name: string) => figures.find((figure) => figure.name === name)?.value;
  expect(value("text, as VLMEvalKit totals it")).toBeCloseTo(0.8654, 4);
  expect(value("text")).toBeCloseTo(0.75);
});

test.each([
  ["[0.5, 0.25]", "(0.5, 0.25)"],
  ["click at 50%, 25%", "(0.5, 0.25)"],
  ["I see 2 buttons; click [0.1, 0.2]", "(0.1, 0.2)"],
  ["[10, 20, 30, 40]", "(10, 20)"],
  ["box: 10, 20, 30, 40", "(20, 30)"],
])("lmms-eval on version 2 reads %j as %s", (reply, at) => {
  expect(readOf(screenspotV2, "lmms-eval", target([0, 0, 1, 1], [0, 0, 1, 1]), reply)).toBe(at);
});

test("lmms-eval's boxes of version 2: width and height, or corners where they look like them", () => {
  const far = target([500, 300, 540, 320], [500, 300, 40, 20]);
  const near = target([10, 20, 110, 60], [10, 20, 100, 40]);
  const right = (record: TaskRecord, reply: string) =>
    verdictOf(screenspotV2, "lmms-eval", record, reply).score;
  expect([right(far, "[0.54, 0.64]"), right(far, "[0.55, 0.64]")]).toEqual([1, 0]);
  expect([right(near, "[0.10, 0.08]"), right(near, "[0.11, 0.08]")]).toEqual([1, 0]);
  expect(right(far, '{"point_2d": [500, 250]}')).toBe(0);
});

const osworld = (type: string, numbers: number[]): TaskRecord => ({
  id: "q",
  images: [],
  question: "Click.",
  kind: "point",
  answer: { absent: true },
  category: type,
  facts: { type, numbers, size: [1920, 1080], classes: [] },
});

test.each([
  ["bbox", [10, 20, 100, 40], "(110, 60)", 1],
  ["bbox", [10, 20, 100, 40], "(111, 60)", 0],
  ["polygon", [0, 0, 10, 0, 0, 10], "(1, 1)", 1],
  ["polygon", [0, 0, 10, 0, 0, 10], "(9, 9)", 0],
  ["polygon", [0, 0, 10, 0, 0, 10], "(0, 0)", 1],
  ["polygon", [0, 0, 10, 0, 0, 10], "(5, 5)", 0],
  ["refusal", [0, 0, 0, 0], "(-1, -1)", 1],
  ["refusal", [0, 0, 0, 0], "(5, 5)", 0],
])("OSWorld-G, %s %j: %s scores %d officially", (type, numbers, reply, right) => {
  const record = osworld(type, numbers);
  expect(verdictOf(osworldG, "official", record, reply).score).toBe(right);
  if (type === "refusal")
    expect(verdictOf(osworldG, "vlmevalkit", record, "click(x=-1, y=-1)").score).toBe(0);
});

test("OSWorld-G: boxes, polygons, refusals, and classes that overlap", async () => {
  const folder = await tempFolder();
  const row = {
    image_path: "a.png",
    image_size: [192, 108],
    instruction: "Click 'Inline'",
    GUI_types: ["Label"],
  };
  putJson(folder, "benchmark/OSWorld-G.json", [
    { ...row, id: "a", box_type: "bbox", box_coordinates: [60, 25, 110, 28] },
    { ...row, id: "b", box_type: "polygon", box_coordinates: [0, 0, 10, 0, 0, 10] },
    { ...row, id: "c", box_type: "refusal", box_coordinates: [0, 0, 0, 0] },
  ]);
  putJson(folder, "benchmark/classification_result.json", {
    classified: {
      text_matching: [{ id: "a" }],
      refusal: [{ id: "c" }],
      layout_understanding: [{ id: "a" }, { id: "b" }],
    },
    unclassified: [],
  });
  put(folder, "benchmark/images/a.png", await png(192, 108));
  const { records } = await loadBenchmark(osworldG, folder);
  expect(records.map(({ answer }) => answer)).toEqual([
    { box: [60, 25, 170, 53] },
    { polygon: [[0, 0], [10, 0], [0, 10]] }, // prettier-ignore
    { absent: true },
  ]);
  expect(records[0].question).toContain("Click 'Inline'");
  const answers = ["(60, 25)", "(9, 9)", "(-1, -1)"];
  const scored = records.map((record, i) => ({
    record,
    verdict: score(osworldG, "ours", record, { text: "", answer: answers[i], view: null }),
  }));
  const figures = figuresOf(osworldG, "ours", scored);
  expect(figures.map(({ name, value }) => [name, Math.round(100 * value)])).toEqual([
    ["overall", 67],
    ["without refusals", 50],
    ["bbox", 100],
    ["polygon", 0],
    ["refusal", 100],
    ["class layout_understanding", 50],
    ["class refusal", 100],
    ["class text_matching", 100],
  ]);
});
