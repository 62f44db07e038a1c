/**
 * Official clients play the zoom tool against a server of ours, by `tool_calls` and `tool` messages: what
 * they get is what `vigorl ask` writes, turn for turn.
 */
import { execFile, spawn, spawnSync, type ChildProcess } from "node:child_process";
import { once } from "node:events";
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join, resolve } from "node:path";
import { createInterface } from "node:readline";
import { promisify } from "node:util";
import OpenAI from "openai";
import { afterAll, beforeAll, expect, test } from "vitest";
import { z } from "zod";
import { decodeImage, encodePng } from "../src/image/decode.ts";
import { zoom } from "../src/image/crop.ts";
import { point } from "../src/image/frames.ts";
import { nanoRecords } from "../src/nano/tasks.ts";
import { tokenPx, viewPx, windowPx } from "../src/nano/world.ts";
import { loadImages } from "../src/task/record.ts";

const root = resolve(import.meta.dirname, "..");
const hasOpenai = spawnSync("python3", ["-c", "import openai, PIL"]).status === 0;
const loader = `file://${root}/node_modules/tsx/dist/loader.mjs`;
const vigorl = ["--import", loader, join(root, "src/cli.ts")];
const env = { ...process.env, OMP_NUM_THREADS: "1" };
const [record] = nanoRecords({ task: "search", split: "heldout", count: 1, seed: 3 });
const turnsSchema = z.object({
  answer: z.string(),
  turns: z.array(z.object({ text: z.string() })),
});

let folder: string;
let server: ChildProcess;
let url: string;
/** What `ask` says, one text a turn. */
let asked: { answer: string; turns: string[] };

beforeAll(async () => {
  folder = mkdtempSync(join(tmpdir(), "vigorl-zoom-"));
  const [image] = await loadImages(record);
  writeFileSync(join(folder, "picture.png"), await encodePng(image));
  const greedy = "--eval.temperature=0";
  const flags = ["ask", "picture.png", record.question, "--json", greedy];
  const options = { cwd: folder, env };
  const { stdout } = await promisify(execFile)(process.execPath, [...vigorl, ...flags], options);
  const { answer, turns } = turnsSchema.parse(JSON.parse(stdout));
  asked = { answer, turns: turns.map(({ text }) => text) };
  server = spawn(process.execPath, [...vigorl, "serve", "--port", "0", "--json", greedy], {
    cwd: folder,
    env,
    stdio: ["ignore", "pipe", "inherit"],
  });
  const [line] = (await once(createInterface(server.stdout!), "line")) as [string];
  ({ url } = z.object({ url: z.string() }).parse(JSON.parse(line)));
}, 300_000);

afterAll(() => {
  server?.kill("SIGKILL");
  rmSync(folder, { recursive: true, force: true });
});

const tools = [{ type: "function" as const, function: { name: "search_coordinate" } }];
const image = (png: Uint8Array) => ({
  type: "image_url" as const,
  image_url: { url: `data:image/png;base64,${Buffer.from(png).toString("base64")}` },
});

async function enlarged(coordinate: readonly [number, number]): Promise<Uint8Array> {
  const original = await decodeImage(join(folder, "picture.png"));
  const seen = { widthPx: viewPx, heightPx: viewPx };
  const settings = { windowPx, outputPx: viewPx, drawDot: false, mode: "default" } as const;
  const cut = zoom(original, point("resized", ...coordinate), seen, settings, { tokenPx });
  if (!cut.ok) throw new Error(`nothing at ${coordinate.join()}`);
  return encodePng(cut.crop.image);
}

test("ask zooms in on this picture, so that there is something to play", () => {
  expect(asked.turns.length).toBeGreaterThan(1);
});

test.each([false, true])("the npm client plays as ask does (streamed: %s)", async (streamed) => {
  const client = new OpenAI({ baseURL: url, apiKey: "none", maxRetries: 0 });
  const content = [
    image(readFileSync(join(folder, "picture.png"))),
    { type: "text" as const, text: record.question },
  ];
  const messages: OpenAI.ChatCompletionMessageParam[] = [{ role: "user", content }];
  const [model] = (await client.models.list()).data;
  const said: string[] = [];
  while (said.length < asked.turns.length) {
    const body = { model: model.id, messages, tools, temperature: 0, seed: 1, max_tokens: 64 };
    const reply = streamed
      ? await client.chat.completions.stream(body).finalChatCompletion()
      : await client.chat.completions.create(body);
    const [{ message, finish_reason }] = reply.choices;
    messages.push(message);
    const [call] = message.tool_calls ?? [];
    expect(finish_reason).toBe(call === undefined ? "stop" : "tool_calls");
    if (call?.type !== "function") {
      said.push(message.content ?? "");
      break;
    }
    expect(call.function.name).toBe("search_coordinate");
    const args = z.object({ coordinate: z.tuple([z.number(), z.number()]) });
    const { coordinate } = args.parse(JSON.parse(call.function.arguments));
    const turn = asked.turns[said.length];
    expect(turn.startsWith(`${message.content}\n<tool_call>`)).toBe(true);
    said.push(turn);
    const shown = [image(await enlarged(coordinate))];
    messages.push({ role: "tool", tool_call_id: call.id, content: shown as never });
  }
  expect(said).toEqual(asked.turns);
});

test("both clients get ask's answer where the server plays", async () => {
  const client = new OpenAI({ baseURL: url, apiKey: "none", maxRetries: 0 });
  const content = [
    image(readFileSync(join(folder, "picture.png"))),
    { type: "text" as const, text: record.question },
  ];
  const [model] = (await client.models.list()).data;
  const vigorlPlays = { vigorl: { play: true } };
  const reply = await client.chat.completions.create({
    model: model.id,
    messages: [{ role: "user", content }],
    seed: 1,
    ...vigorlPlays,
  });
  expect(reply.choices[0].message.content).toBe(asked.answer);
});

test.skipIf(!hasOpenai)(
  "the Python client plays as ask does (needs Python's openai and Pillow)",
  async () => {
    const args = [join(root, "examples/zoom.py"), "picture.png", record.question];
    const options = { cwd: folder, env: { ...env, VIGORL_URL: url } };
    const { stdout } = await promisify(execFile)("python3", args, options);
    const calls = asked.turns.length - 1;
    expect(stdout.match(/zooms in at/g)).toHaveLength(calls);
    expect(stdout.trimEnd().endsWith(asked.turns.at(-1)!)).toBe(true);
  },
);
