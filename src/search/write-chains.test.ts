import { mkdtemp, readFile, readdir, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { asyncBufferFromFile, parquetReadObjects } from "hyparquet";
import { afterAll, beforeAll, expect, test } from "vitest";
import { numPositions, type Chunk } from "../engine/types.ts";
import { decodeImage } from "../image/decode.ts";
import { imageHash } from "../image/model-image.ts";
import { runEpisode } from "../task/episode.ts";
import { answerTurn, chat, digitRecord, smallConfig, zoomCall } from "../task/fixtures/scene.ts";
import { ScriptedSampler } from "../task/fixtures/scripted-sampler.ts";
import { episodeToDatum, type Transcript } from "../task/trajectory.ts";
import { TableSampler, type Teacher } from "./fixtures/table-sampler.ts";
import { linearize, type ChainLine } from "./linearize.ts";
import { linearizeConfig } from "./linearize-config.ts";
import { chainExample, renderChain } from "./render-chain.ts";
import { rulesOf, searchConfig } from "./search-config.ts";
import { searchTree } from "./search-tree.ts";
import { writeChainParquet, writeShareGpt } from "./write-chains.ts";

let folder: string;
let chains: ChainLine[];
const episode = smallConfig({ episode: { maxTurns: 4, maxToolImages: 3 } });
const records = new Map([[digitRecord.id, digitRecord]]);

const looker: Teacher = ({ text, numImages }, random) => {
  if (numImages > 1) return answerTurn(text.includes("[90, 80]") ? "7" : "3");
  return random.chance(0.5) ? zoomCall(90, 80) : zoomCall(20, 20);
};

beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), "vigorl-chains-"));
  const config = searchConfig.parse({ simulations: 6 });
  const tree = await searchTree({
    sampler: new TableSampler(looker),
    record: digitRecord,
    episode,
    rules: rulesOf(config, episode),
    seed: 1,
  });
  ({ chains } = await linearize({ trees: [tree], config: linearizeConfig.parse({}), seed: 1 }));
});

afterAll(() => rm(folder, { recursive: true, force: true }));

test("the search leads to a direct and a backtracking chain", () => {
  expect(chains.map(({ kind, turns }) => [kind, turns.length])).toEqual([
    ["direct", 2],
    ["backtrack", 3],
  ]);
});

test("a chain is the tokens and pictures of an episode in which the model says the same", async () => {
  const [direct] = chains;
  const sampler = new ScriptedSampler(chat.tokenizer, direct.turns);
  const played = await runEpisode(sampler, digitRecord, episode, 1);
  expect(played.stopReason).toBe("answered");
  const datum = episodeToDatum(played);
  const example = await chainExample(direct, digitRecord, episode);
  const taught = episodeToDatum(example);
  const ids = (chunks: readonly Chunk[]) =>
    chunks.flatMap<number | string>((chunk) =>
      chunk.type === "text" ? [...chunk.tokens] : [chunk.image.hash],
    );
  const total = numPositions(datum.chunks);
  expect(ids(example.chunks).slice(0, ids(datum.chunks).length)).toEqual(ids(datum.chunks));
  expect(
    taught.weights.slice(0, total - 1).reduce((sum, weight) => sum + weight, 0),
  ).toBeGreaterThan(20);
  expect(taught.weights.length).toBe(numPositions(taught.chunks));
  expect(spoken(example)).toBe(direct.turns.join(""));
});

test("the way that turned out wrong is read, not imitated", async () => {
  const [, back] = chains;
  expect(back.detours.map(({ turn }) => turn)).toEqual([0, 1]);
  const right = back.turns.map((text, turn) =>
    back.detours
      .filter((detour) => detour.turn === turn)
      .reduceRight((kept, { start, end }) => kept.slice(0, start) + kept.slice(end), text),
  );
  const example = await chainExample(back, digitRecord, episode);
  expect(spoken(example)).toBe(right.join("").replace("  ", " "));
  const all = await chainExample(back, digitRecord, episode, { trainDetours: true });
  expect(spoken(all)).toBe(back.turns.join(""));
  expect(episodeToDatum(all).chunks).toEqual(episodeToDatum(example).chunks);
});

/** The text that an example trains on. */
function spoken(example: Transcript): string {
  const { chunks, weights } = episodeToDatum(example);
  const ids = chunks.flatMap((chunk) =>
    chunk.type === "text" ? [...chunk.tokens] : Array<number>(chunk.image.numTokens).fill(-1),
  );
  return chat.tokenizer.decode(
    ids.filter((_, i) => weights[i] === 1),
    { skipSpecial: true },
  );
}

test("crops that the teacher did not see are refused", async () => {
  const other = smallConfig({ zoom: { windowPx: 20 } });
  await expect(renderChain(chains[0], digitRecord, other)).rejects.toThrow("saw another picture");
});

test("a picture of another size than the teacher's is refused, whatever was shown of it", async () => {
  const other = { ...episode, budget: { minPixels: 3136, maxPixels: 3136 } };
  const sizes = /count pixels of an image of 112 × 112, which the student sees at 56 × 56/;
  await expect(renderChain(chains[0], digitRecord, other)).rejects.toThrow(sizes);
  const text = { ...chains[0], turns: ["<think> red (9, 9) </think>\n<answer> 7 </answer>"] };
  await expect(renderChain(text, digitRecord, other)).rejects.toThrow(sizes);
  for (const free of [{ seen: null }, { places: [] }])
    expect((await renderChain({ ...text, ...free }, digitRecord, other)).messages).toHaveLength(2);
});

test("a spliced chain is brought to the size that the student sees, its calls too", async () => {
  const call = '{"name": "search_coordinate", "arguments": {"coordinate": [75, 90]}}';
  const turns = [
    `<think> I see the star (75.5, 90). </think>\n<tool_call>\n${call}\n</tool_call>`,
    "<think> It is 7, not (3,4). </think>\n<answer> 7 </answer>",
  ];
  const spliced = { ...chains[0], turns, pictures: [], detours: [] };
  const other = { ...episode, budget: { minPixels: 3136, maxPixels: 3136 } };
  const { messages, pictures } = await renderChain(spliced, digitRecord, other);
  const said = messages.filter(({ role }) => role === "assistant").map(({ content }) => content);
  expect(said).toEqual([
    turns[0].replace("(75.5, 90)", "(37, 45)").replace("[75, 90]", "[37, 45]"),
    turns[1].replace("(3,4)", "(1, 2)"),
  ]);
  expect(pictures).toHaveLength(2);
  const same = await renderChain(spliced, digitRecord, episode);
  expect(same.messages.filter(({ role }) => role === "assistant")[0].content).toBe(turns[0]);
});

test("ShareGPT: as many placeholders as pictures, which are there as the model saw them", async () => {
  const file = join(folder, "sharegpt", "train.json");
  expect(await writeShareGpt(file, { chains, records, episode })).toBe(2);
  const rows = JSON.parse(await readFile(file, "utf8")) as {
    id: string;
    messages: { role: string; content: string }[];
    images: string[];
    gt_answer: string;
  }[];
  for (const { messages, images, gt_answer } of rows) {
    const numTags =
      messages
        .map(({ content }) => content)
        .join("")
        .split("<image>").length - 1;
    expect(numTags).toBe(images.length);
    expect(gt_answer).toBe("7");
    for (const path of images) {
      const picture = await decodeImage(join(folder, "sharegpt", path), { name: path });
      expect(`images/${imageHash(picture)}.png`).toBe(path);
    }
  }
  expect(rows[1].messages.map(({ role }) => role)).toEqual([
    "user",
    "assistant",
    "user",
    "assistant",
    "user",
    "assistant",
  ]);
  expect(rows[1].messages[2].content).toMatch(/^<observation>\n<image>\n<\/observation>$/);
  const info = JSON.parse(
    await readFile(join(folder, "sharegpt", "dataset_info.json"), "utf8"),
  ) as object;
  expect(info).toMatchObject({ train: { file_name: "train.json", formatting: "sharegpt" } });
  expect(await readdir(join(folder, "sharegpt", "images"))).toHaveLength(3);
});

test.each(["bytes", "paths"] as const)(
  "Parquet with pictures as %s reads back",
  async (pictures) => {
    const file = join(folder, `${pictures}.parquet`);
    expect(await writeChainParquet(file, { chains, records, episode }, pictures)).toBe(2);
    const rows = (await parquetReadObjects({
      file: await asyncBufferFromFile(file),
      utf8: false,
    })) as {
      messages: { role: string; content: string }[];
      images: unknown[];
      gt_answer: string;
    }[];
    expect(rows).toHaveLength(2);
    expect(rows[0].messages.map(({ role }) => role)).toEqual([
      "user",
      "assistant",
      "user",
      "assistant",
    ]);
    expect(rows[0].messages[1].content).toBe(chains[0].turns[0]);
    const [first] = rows[0].images;
    if (pictures === "paths") {
      expect(first).toMatch(/^images\/[0-9a-f]{32}\.png$/);
    } else {
      const { bytes, path } = first as { bytes: Uint8Array; path: string };
      expect(`${imageHash(await decodeImage(bytes, { name: path }))}.png`).toBe(path);
    }
  },
);

test("a chain without its record says which", async () => {
  const writing = writeShareGpt(join(folder, "x.json"), { chains, records: new Map(), episode });
  await expect(writing).rejects.toThrow("no record has the id digit-1");
});
