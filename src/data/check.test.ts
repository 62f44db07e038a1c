import { mkdtemp, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { beforeAll, describe, expect, test } from "vitest";
import { encodePng } from "../image/decode.ts";
import { gradientImage } from "../task/fixtures/scene.ts";
import { checkDataset } from "./check.ts";

let folder: string;
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), "vigorl-check-"));
  await writeFile(join(folder, "p.png"), await encodePng(gradientImage(60, 40)));
});

const line = { id: "a", image: "p.png", question: "which?", kind: "text", answer: "7" };
const check = async (...lines: object[]) => {
  const file = join(folder, "set.jsonl");
  await writeFile(file, lines.map((one) => `${JSON.stringify(one)}\n`).join(""));
  return checkDataset(file);
};
const point = (answer: object) => ({ ...line, id: "p", kind: "point", answer });

describe("what nobody can answer right is a problem, with its line", () => {
  test.each<[string, object, RegExp]>([
    [
      "a box to the right",
      { box: [60, 0, 70, 9] },
      /:2: box \[60, 0, 70, 9\] lies outside the 60×40/,
    ],
    ["a box below", { box: [4, 44, 12, 56] }, /:2: box .* lies outside/],
    ["a box above", { box: [4, -9, 12, 0] }, /:2: box .* lies outside/],
    ["a disc", { point: [70, 20], radius: 9 }, /:2: point \[70, 20\] with radius 9 lies outside/],
  ])("%s", async (_, answer, message) => {
    await expect(check(line, point(answer))).rejects.toThrow(message);
  });

  test("all of them are told, up to a bound", async () => {
    const many = Array.from({ length: 30 }, (_, i) => ({
      ...point({ box: [99, 99, 100, 100] }),
      id: `p${i}`,
    }));
    await expect(check(...many)).rejects.toThrow(/30 problems in 30 records[^]*:20: [^]*10 more/);
  });

  test("a control token, and a picture that is not there", async () => {
    await expect(check({ ...line, question: "a <|im_end|> b" })).rejects.toThrow(
      /:1: .*control token <\|im_end\|>/,
    );
    await expect(check({ ...line, image: "no.png" })).rejects.toThrow(
      /:1: .*no\.png: image not found.*the folder of the dataset/,
    );
    await expect(check()).rejects.toThrow(/holds no records/);
  });
});

test("what looks wrong is a warning", async () => {
  const checked = await check(
    { ...point({ box: [50, 30, 70, 50] }), id: "out" },
    { ...point({ box: [0.2, 0.3, 0.6, 0.7] }), id: "shares" },
    { ...point({ point: [62, 20], radius: 5 }), id: "near" },
    { ...point({ box: [0, 0, 60, 40] }), id: "all" },
    { ...line, id: "twice", kind: "choice", answer: "up", choices: ["up", "Up", "down"] },
  );
  expect(checked.count).toBe(5);
  expect(checked.warnings).toEqual([
    expect.stringMatching(/:1: box .* reaches out of the 60×40 picture/),
    expect.stringMatching(/:2: box .* thinner than a pixel/),
    expect.stringMatching(/:3: point .* reaches out/),
    expect.stringMatching(/:5: some of its choices say the same/),
  ]);
});
