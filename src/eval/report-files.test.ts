import { mkdir, mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { expect, test } from "vitest";
import { writeJsonl } from "../core/jsonl.ts";
import { runEpisode } from "../task/episode.ts";
import { answerTurn, chat, digitRecord, smallConfig, zoomCall } from "../task/fixtures/scene.ts";
import { ScriptedSampler } from "../task/fixtures/scripted-sampler.ts";
import { toTrace, TraceWriter } from "../task/trace.ts";
import { armFolder } from "./arm-files.ts";
import { armOf } from "./count.ts";
import type { Outcome } from "./outcome.ts";
import { writeReport } from "./report-files.ts";
import type { Report } from "./report.ts";

const outcome: Outcome = {
  recordId: digitRecord.id,
  category: null,
  score: 1,
  answer: "7",
  toolUses: 1,
  tokens: { written: 0, read: 0 },
  reply: { text: "", view: null },
  stopReason: "answered",
  error: null,
};

test("a page shows the tool uses of its traces; traces that cannot be read cost nothing else", async () => {
  const run = await mkdtemp(join(tmpdir(), "vigorl-report-"));
  try {
    const arms = ["model", "broken", "older"];
    for (const arm of arms) {
      const folder = armFolder(run, "search", arm);
      await mkdir(folder, { recursive: true });
      await writeJsonl(join(folder, "outcomes.jsonl"), [outcome]);
      const facts = { questionsHash: "", condition: "none", rule: "default", prompt: null };
      const done = { version: 1, outcomes: 1, seconds: 1, ...facts };
      await writeFile(join(folder, "arm.json"), JSON.stringify(done));
    }
    const script = [zoomCall(57, 83), answerTurn("7")];
    const sampler = new ScriptedSampler(chat.tokenizer, script);
    const episode = await runEpisode(sampler, digitRecord, smallConfig({}), 7);
    const trace = toTrace(episode, digitRecord, null, { arm: "model" }, chat);
    await new TraceWriter(armFolder(run, "search", "model")).append(trace, episode);
    const line = JSON.stringify(trace);
    const place = (arm: string) => join(armFolder(run, "search", arm), "traces.jsonl");
    await writeFile(place("broken"), `${line.replace('"x":57', '"x":null')}\n${line}\n`);
    await writeFile(place("older"), `{"version":1}\n`);
    const report: Report = {
      version: 1,
      title: "t",
      command: "c",
      createdAt: "now",
      facts: {},
      arms: arms.map((arm) => armOf(arm, "search", { seconds: 1, outcomes: [outcome] })),
      comparisons: [],
      curves: [],
    };
    const page = await readFile(
      await writeReport(run, report, [{ task: "search", records: [digitRecord] }]),
      "utf8",
    );
    expect(page).toContain('<rect class="use" x="204" y="308" width="48" height="48"');
    expect(page).toContain("<figcaption>zoom 1</figcaption>");
    const text = await readFile(join(run, "report.md"), "utf8");
    expect(text).toMatch(/traces of search broken, not shown: .*traces\.jsonl:1: .*\bx\b/);
    expect(text).toMatch(/traces of search older, not shown: .*version 1, and .* reads version 2/);
  } finally {
    await rm(run, { recursive: true });
  }
});
