/**
 * One evaluation of the nano tasks, four ways to the same weights: the engine in this process, our server
 * by its own dialect, our server by the common protocol alone (through the `openai` package), and our
 * server asked by OpenAI's client for Python: the same outcomes.
 */
import { execFile, spawnSync } from "node:child_process";
import { existsSync } from "node:fs";
import { homedir } from "node:os";
import { join, resolve } from "node:path";
import { promisify } from "node:util";
import { afterAll, beforeAll, expect, test } from "vitest";
import { z } from "zod";
import { engineSchema, openSampler, resolveEngine } from "../src/engine/open.ts";
import type { Sampler } from "../src/engine/types.ts";
import { evaluate, evalSchema } from "../src/eval/evaluate.ts";
import type { Outcome } from "../src/eval/outcome.ts";
import { encodePng } from "../src/image/decode.ts";
import { nanoRecords, nanoTaskNames } from "../src/nano/tasks.ts";
import { createApp } from "../src/serve/app.ts";
import { startServer } from "../src/serve/server.ts";
import type { EpisodeConfig } from "../src/task/episode-config.ts";
import { promptMessages } from "../src/task/prompt.ts";
import { loadImages } from "../src/task/record.ts";
import { parseTurn, stopStrings } from "../src/text/grammar.ts";
import { tinyEpisode } from "./fixtures/tiny.ts";

const nano = resolve(import.meta.dirname, "../models/nano");
const needs = { purpose: "eval", capabilities: ["images"] as const };
const records = nanoTaskNames.flatMap((task) =>
  nanoRecords({ task, split: "heldout", count: 6, seed: 3 }),
);
const own = process.env.VIGORL_PYTHON ?? join(homedir(), ".cache/vigorl/peers/bin/python");
const python = [own, "python3"].find(
  (one) =>
    (one === "python3" || existsSync(one)) && spawnSync(one, ["-c", "import openai"]).status === 0,
);

let near: Sampler;
let server: Awaited<ReturnType<typeof startServer>>;
let withZoom: EpisodeConfig;
let withoutZoom: EpisodeConfig;

beforeAll(async () => {
  withZoom = await tinyEpisode(nano, true);
  withoutZoom = await tinyEpisode(nano, false);
  const local = engineSchema.parse({ model: nano, threads: 1, slots: 8 });
  near = await openSampler(local, needs, { processorFolder: nano });
  const app = createApp({ sampler: near, format: withZoom, model: "nano" });
  server = await startServer(app, { host: "127.0.0.1", port: 0 });
});
afterAll(async () => {
  await server?.close();
  await near?.close();
});

async function far(settings: object): Promise<Sampler> {
  const section = { kind: "openai", url: server.url, folder: nano, ...settings };
  const engine = await resolveEngine(engineSchema.parse(section));
  return openSampler(engine, needs, { processorFolder: nano });
}

/** What an evaluation says of each question. */
async function outcomesOf(sampler: Sampler, episode: EpisodeConfig) {
  const config = evalSchema.parse({ concurrency: 4 });
  const options = { sampler, records, episode, config, condition: "none", seed: 5 } as const;
  const { outcomes } = await evaluate(options);
  return outcomes.map(figures);
}

const figures = ({ recordId, answer, score, toolUses, stopReason }: Outcome) => ({
  recordId,
  answer,
  score,
  toolUses,
  stopReason,
});

test.each([
  ["its own dialect", { server: "vigorl" }],
  ["the common protocol", { server: "plain" }],
])("by %s the server's outcomes are those of the engine", async (_, settings) => {
  const remote = await far(settings);
  try {
    for (const episode of [withZoom, withoutZoom])
      expect(await outcomesOf(remote, episode)).toEqual(await outcomesOf(near, episode));
  } finally {
    await remote.close();
  }
});

const ask = `
import json, sys, openai
client = openai.OpenAI(base_url=sys.argv[1], api_key="none")
for line in sys.stdin:
    told = client.chat.completions.create(model="nano", temperature=0, **json.loads(line))
    print(json.dumps(told.choices[0].message.content))
`;

test.skipIf(python === undefined)(
  "OpenAI's client for Python gets the same answers (needs openai for Python)",
  async () => {
    const requests = await Promise.all(
      records.map(async (record) => {
        const [image] = await loadImages(record);
        const url = `data:image/png;base64,${Buffer.from(await encodePng(image)).toString("base64")}`;
        const messages = promptMessages(record, withoutZoom.promptsFor(record.kind)).map(
          ({ role, content }) => ({
            role,
            content:
              typeof content === "string"
                ? content
                : content.map((part) =>
                    part.type === "image" ? { type: "image_url", image_url: { url } } : part,
                  ),
          }),
        );
        const { maxTokensPerTurn } = withoutZoom.limits;
        const stop = stopStrings(false);
        const extra = { include_stop_str_in_output: true };
        const asked = { messages, stop, max_tokens: maxTokensPerTurn, extra_body: extra };
        return `${JSON.stringify(asked)}\n`;
      }),
    );
    const running = promisify(execFile)(python!, ["-c", ask, server.url]);
    running.child.stdin!.end(requests.join(""));
    const { stdout } = await running;
    const said = stdout
      .trimEnd()
      .split("\n")
      .map((line) => z.string().parse(JSON.parse(line)));
    const answers = said.map((text) => parseTurn(text, withoutZoom.dialect).answer?.text ?? null);
    const expected = await outcomesOf(near, withoutZoom);
    expect(answers).toEqual(expected.map(({ answer }) => answer));
  },
);
