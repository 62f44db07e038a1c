import { expect, test } from "vitest";
import { loadImages } from "../../task/record.ts";
import { png, put, putJson, tempFolder } from "./fixtures/published.ts";
import { boxRecord, verdictOf } from "./fixtures/vectors.ts";
import { loadBenchmark } from "./load.ts";
import { screenspotPro, screenspotProLr } from "./screenspot-pro.ts";
import { figuresOf, score } from "./score.ts";

const terminal = {
  img_filename: "vscode_mac/screenshot_2024-01-02_03-04-05.png",
  bbox: [2400, 40, 2430, 66],
  instruction: "show terminal",
  instruction_cn: "显示终端",
  id: "vscode_macos_3",
  application: "vscode",
  platform: "macos",
  img_size: [2500, 1250],
  ui_type: "icon",
  group: "Dev",
};
const cell = {
  ...terminal,
  id: "excel_windows_1",
  application: "excel",
  platform: "windows",
  ui_type: "text",
  group: "Office",
  bbox: [100, 50, 200, 100],
};

async function published(rows: readonly object[] = [terminal, cell]): Promise<string> {
  const folder = await tempFolder();
  putJson(folder, "annotations/vscode_macos.json", rows);
  put(folder, `images/${terminal.img_filename}`, await png(2500, 1250));
  return folder;
}

test("corners in pixels; overall, text and icon, groups", async () => {
  const { records, notes } = await loadBenchmark(screenspotPro, await published());
  expect(records.map(({ answer }) => answer)).toEqual([{ box: terminal.bbox }, { box: cell.bbox }]);
  expect(notes).toContain("boxes are xyxy pixels");
  const scored = records.map((record, i) => ({
    record,
    verdict: score(screenspotPro, "ours", record, {
      text: "",
      answer: ["(2410, 50)", "(201, 60)"][i],
      view: null,
    }),
  }));
  expect(figuresOf(screenspotPro, "ours", scored).map(({ name, value }) => [name, value])).toEqual([
    ["overall", 0.5],
    ["text", 0],
    ["icon", 1],
    ["Dev", 1],
    ["Office", 0],
    ["Dev · icon", 1],
    ["Office · text", 0],
  ]);
});

test("boxes of the first two ScreenSpots, and shares, are refused by name", async () => {
  const wide = { ...terminal, bbox: [2400, 40, 30, 26] };
  await expect(loadBenchmark(screenspotPro, await published([wide, cell]))).rejects.toThrow(
    /1 of 2 rows .* read as xyxy pixels:\n.*vscode_macos\.json: row 1: box \[2400, 40, 30, 26\] is empty/,
  );
  const shares = { ...terminal, bbox: [0.1, 0.2, 0.3, 0.4] };
  await expect(loadBenchmark(screenspotPro, await published([shares]))).rejects.toThrow(
    /thinner than a pixel/,
  );
});

test("Pro-LR: 5000 × 2500 becomes 1920 × 960, its box with it", async () => {
  const row = { ...terminal, img_size: [5000, 2500], bbox: [500, 500, 1000, 750] };
  const { records } = await loadBenchmark(screenspotProLr, await published([row]));
  expect(records[0].answer).toEqual({ box: [192, 192, 384, 288] });
  expect((await loadImages(records[0]))[0]).toMatchObject({ widthPx: 1920, heightPx: 960 });
});

const record = boxRecord([100, 50, 200, 100], [1000, 500]);

test.each([
  ["(100, 50)", 1],
  ["[200, 100]", 1],
  ["(200.1, 100)", 0],
  ["[100, 50, 200, 100]", 1],
  ["no number", 0],
  ["1 2 3", 0],
])("official: %j scores %d", (reply, right) => {
  const view = {
    original: { widthPx: 1000, heightPx: 500 },
    resized: { widthPx: 1000, heightPx: 500 },
    coordinates: "resized",
  } as const;
  expect(verdictOf(screenspotPro, "official", record, reply, view).score).toBe(right);
});

test.each([
  ["(10, 20, 30, 40)", "(30, 40)", 1],
  ["same", "[20, 30]", 1],
  ["same", "(31,40)", 0],
  ["same", "x=20, y=30", 0],
  ["same", "(20.0, 30)", 0],
])("ViGoRL's judge, inclusive box %s: %j scores %d", (_, reply, right) => {
  const inclusive = boxRecord([10, 20, 31, 41], [100, 100]);
  expect(verdictOf(screenspotPro, "vigorl", inclusive, reply).score).toBe(right);
});
