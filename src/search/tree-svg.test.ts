import { expect, test } from "vitest";
import { answerStep, node, smallTree, thought, tree } from "./fixtures/small-tree.ts";
import { linearize } from "./linearize.ts";
import { linearizeConfig } from "./linearize-config.ts";
import { digitRecord } from "../task/fixtures/scene.ts";
import { treeCrops } from "./tree-crops.ts";
import { escapeXml } from "../core/plain-text.ts";
import { treeSvg } from "./tree-svg.ts";

test("every node has its box, every child its line, every answer its mark", () => {
  const svg = treeSvg(smallTree);
  expect(svg.split("<rect").length - 1).toBe(1 + 5);
  expect(svg.split("<path").length - 1).toBe(4);
  expect(svg).toContain("✓ 7");
  expect(svg).toContain("✗ 3");
  expect(svg).toContain("zoom (90, 80)");
});

test("a step that looked has its crop, cut from the question's picture", async () => {
  const record = {
    ...digitRecord,
    images: digitRecord.images,
    id: smallTree.recordId,
  };
  const crops = await treeCrops(smallTree, record);
  const shown = [...crops.values()];
  expect(shown.length).toBeGreaterThan(0);
  expect(shown[0]).toMatch(/^data:image\/png;base64,/);
  const svg = treeSvg(smallTree, { crops });
  expect(svg.split("<image").length - 1).toBeGreaterThanOrEqual(shown.length);
  expect(svg).toContain(`href="${shown[0]}"`);
});

test("chains are written below", () => {
  const chains = [{ kind: "direct" as const, turns: ["<think> a </think>\n<answer> 7 </answer>"] }];
  expect(treeSvg(smallTree, { chains })).toContain(
    "&lt;think&gt; a &lt;/think&gt; &lt;answer&gt; 7 &lt;/answer&gt;",
  );
});

test("what a model wrote cannot get out of its text", () => {
  const evil = `</text><script>alert("x")</script>&\u0000\ud800`;
  const root = node(null, {
    children: [node(thought(evil, 1, 2), {}), node(answerStep(evil), {})],
  });
  const svg = treeSvg(tree(root, { question: evil, recordId: evil }), { maxChars: 200 });
  expect(svg).not.toContain("<script");
  expect(svg).not.toContain("\u0000");
  expect(svg.split("</text>").length).toBe(svg.split("<text ").length);
  expect(escapeXml(`<a b='c' d="e">&\ud800\u{1f600}`)).toBe(
    "&lt;a b=&#39;c&#39; d=&quot;e&quot;&gt;&amp;\u{1f600}",
  );
});

test("the drawing in the documentation is of this tree and its chains", async () => {
  const config = linearizeConfig.parse({ correction: "No, that is a cloud." });
  const { chains } = await linearize({ trees: [smallTree], config, seed: 1 });
  const two = [
    chains.find(({ kind }) => kind === "direct")!,
    chains.findLast(({ turns }) => turns.length === 3)!,
  ];
  const svg = `${treeSvg(smallTree, { chains: two })}\n`;
  await expect(svg).toMatchFileSnapshot("../../docs/search-tree.svg");
});
