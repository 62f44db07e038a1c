import { expect, test } from "vitest";
import { curvesSvg } from "./curves.ts";

test("panels with axes of their own", () => {
  const lines = [
    {
      name: "loss",
      points: [
        [1, 2],
        [2, 1],
      ] as const,
    },
  ];
  const svg = curvesSvg([
    { title: "loss", lines, last: 2 },
    { title: "share", lines: [{ name: "flat", points: [[1, 0.5]] }], last: 2, range: [0, 1] },
  ]);
  expect(svg).toContain('viewBox="0 0 800 300"');
  expect(svg.match(/<polyline/g)).toHaveLength(2);
  expect(svg).toContain("loss 1.000");
  // From the top of its panel to the bottom.
  expect(svg).toContain('points="161.0,28.0 286.0,258.0"');
  expect(svg).not.toContain("NaN");
});

test("notes stand below, escaped", () => {
  const svg = curvesSvg([{ title: "a", lines: [], last: 2 }], ["step 3: <b> & more", "step 4"]);
  expect(svg).toContain('viewBox="0 0 400 332"');
  expect(svg).toContain(">step 3: &lt;b&gt; &amp; more</text>");
});

test("one value, equal values and none draw without a fault", () => {
  for (const points of [
    [],
    [[1, 3]],
    [
      [1, 0],
      [2, 0],
    ],
  ] as [number, number][][])
    expect(curvesSvg([{ title: "a", lines: [{ name: "a", points }], last: 2 }])).not.toMatch(
      /NaN|Infinity/,
    );
});
