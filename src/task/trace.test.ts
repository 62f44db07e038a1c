import { mkdtemp, readFile, readdir, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, expect, test } from "vitest";
import { decodeImage } from "../image/decode.ts";
import { imageHash } from "../image/model-image.ts";
import { runEpisode } from "./episode.ts";
import { answerTurn, chat, digitRecord, smallConfig, zoomCall } from "./fixtures/scene.ts";
import { ScriptedSampler } from "./fixtures/scripted-sampler.ts";
import { rewardConfigSchema, scoreEpisode } from "./reward.ts";
import { readTraces, toTrace, traceSchema, TraceWriter } from "./trace.ts";

let folder: string;
beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), "vigorl-trace-"));
});
afterEach(async () => {
  await rm(folder, { recursive: true });
});

async function played(script = [zoomCall(57, 83), zoomCall(900, 1), answerTurn("7")]) {
  const sampler = new ScriptedSampler(chat.tokenizer, script);
  return runEpisode(sampler, digitRecord, smallConfig({}), 7);
}

test("a trace reads back as it was written, with each picture once under its hash", async () => {
  const episode = await played();
  const reward = scoreEpisode(episode, digitRecord, rewardConfigSchema.parse({}));
  const trace = toTrace(episode, digitRecord, reward, { step: 3, member: 1 }, chat);
  const writer = new TraceWriter(folder);
  await writer.append(trace, episode);
  await writer.append(trace, episode);
  expect(await readTraces(join(folder, "traces.jsonl"))).toEqual([trace, trace]);
  const pictures = await readdir(join(folder, "images"));
  expect(pictures).toHaveLength(2);
  for (const picture of pictures) {
    const image = await decodeImage(join(folder, "images", picture));
    expect(`${imageHash(image)}.png`).toBe(picture);
  }
});

test("parts tell the conversation with authors; pictures and tool uses are numbered", async () => {
  const episode = await played();
  const { parts, pictures, toolUses, reward } = toTrace(
    episode,
    digitRecord,
    null,
    { arm: "zoom" },
    chat,
  );
  expect(reward).toBeNull();
  const said = parts.flatMap((part) =>
    part.type === "text" && part.author === "model" ? [part.text] : [],
  );
  expect(said).toEqual([zoomCall(57, 83), zoomCall(900, 1), answerTurn("7")]);
  const images = parts.filter((part) => part.type === "image");
  expect(images).toMatchObject([
    { author: "prompt", picture: 0 },
    { author: "environment", picture: 1 },
  ]);
  expect(pictures).toMatchObject([
    { id: 0, tool: null, of: 0, box: [0, 0, 448, 448] },
    { id: 1, tool: "zoom", of: 0, box: [204, 308, 252, 356] },
  ]);
  expect(toolUses).toMatchObject([
    { tool: "zoom", reads: 0, gives: 1, fault: null },
    { tool: "zoom", reads: 0, gives: null, fault: "outside" },
  ]);
});

test("every kind of end can be written", async () => {
  for (const script of [["no idea"], [zoomCall(1, 1), "no idea"], [""]]) {
    const episode = await played(script);
    const trace = toTrace(episode, digitRecord, null, {}, chat);
    expect(traceSchema.parse(JSON.parse(JSON.stringify(trace)))).toEqual(trace);
  }
});

test("a torn last line is dropped, a bad line is named", async () => {
  const episode = await played();
  const writer = new TraceWriter(folder);
  await writer.append(toTrace(episode, digitRecord, null, {}, chat), episode);
  const file = join(folder, "traces.jsonl");
  const whole = await readFile(file, "utf8");
  const { writeFile } = await import("node:fs/promises");
  await writeFile(file, whole + whole.slice(0, 50));
  expect(await readTraces(file)).toHaveLength(1);
  await writeFile(file, `{"version": 1, "zooms": []}\n`);
  await expect(readTraces(file)).rejects.toThrow(
    /traces\.jsonl:1: version: .*version 1.*reads version 2/,
  );
});
