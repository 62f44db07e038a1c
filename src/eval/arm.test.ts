import { mkdir, mkdtemp, readdir, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { VigorlError } from "../core/errors.ts";
import type { Chunk, Sampler } from "../engine/types.ts";
import { answerTurn, chat, digitRecord, smallConfig } from "../task/fixtures/scene.ts";
import { ScriptedSampler } from "../task/fixtures/scripted-sampler.ts";
import { rewardConfigSchema } from "../task/reward.ts";
import { evalSchema } from "./evaluate.ts";
import { armFolder, isArmDone, readArm } from "./arm-files.ts";
import { runArm, type ArmOptions } from "./arm.ts";

test("an arm whose name leads out of its run touches nothing", async () => {
  const root = await mkdtemp(join(tmpdir(), "vigorl-arm-"));
  const run = join(root, "run");
  await mkdir(join(root, "victim", "none"), { recursive: true });
  await mkdir(join(run, "eval"), { recursive: true });
  for (const [task, arm] of [
    ["../../victim", "none"],
    ["..", ".."],
    ["search", "../../../victim/none"],
  ]) {
    const options = { folder: run, task, arm } as ArmOptions;
    await expect(runArm(options)).rejects.toMatchObject({ name: "VigorlError" });
    expect(() => armFolder(run, task, arm)).toThrow("outside the folder");
    expect(() => isArmDone(run, task, arm)).toThrow("outside the folder");
    await expect(readArm(run, task, arm)).rejects.toThrow("outside the folder");
  }
  expect(await readdir(join(root, "victim"))).toEqual(["none"]);
});

describe("an arm that is stopped", () => {
  let folder: string;
  beforeAll(async () => {
    folder = await mkdtemp(join(tmpdir(), "vigorl-arm-"));
  });
  afterAll(() => rm(folder, { recursive: true }));

  /** Answers by the question alone; counts what it is asked; fails where it is told to. */
  function player(fail: (call: number, id: string) => boolean = () => false) {
    const asked: string[] = [];
    const sampler: Sampler = {
      capabilities: new ScriptedSampler(chat.tokenizer, []).capabilities,
      close: () => Promise.resolve(),
      sample: async (...request) => {
        const id = chat.tokenizer.decode(textOf(request[0])).match(/digit (\d+)/)?.[1] ?? "?";
        const call = asked.push(id);
        await sleep((7 * Number(id)) % 5);
        if (fail(call, id)) throw new VigorlError("io", "the line is cut");
        return new ScriptedSampler(chat.tokenizer, [answerTurn(String(Number(id) % 10))]).sample(
          ...request,
        );
      },
    };
    return { sampler, asked };
  }
  const textOf = (prompt: readonly Chunk[]) =>
    prompt.flatMap((chunk) => (chunk.type === "text" ? [...chunk.tokens] : []));
  const records = Array.from({ length: 30 }, (_, i) => ({
    ...digitRecord,
    id: `q${i}`,
    question: `Which is the last digit of digit ${i}?`,
    answer: String(i % 10),
  }));
  const options = (arm: string, sampler: Sampler, config: object = {}): ArmOptions => ({
    folder,
    task: "digits",
    arm,
    sampler,
    records,
    episode: smallConfig({}),
    config: evalSchema.parse({ traces: 6, concurrency: 4, ...config }),
    reward: rewardConfigSchema.parse({}),
    rule: "default",
    condition: "none",
    seed: 1,
  });
  const filesOf = async (arm: string) =>
    Promise.all(
      ["outcomes.jsonl", "traces.jsonl"].map(async (name) => {
        const text = await readFile(join(armFolder(folder, "digits", arm), name), "utf8");
        return text.replace(/"(seconds|seed)":[\d.e-]+/g, "").replaceAll(`"arm":"${arm}"`, "");
      }),
    );

  test("asks each question once, whatever stops there were, and leaves the same files", async () => {
    const whole = player();
    await runArm(options("whole", whole.sampler));
    expect(whole.asked).toHaveLength(30);
    const asked: string[] = [];
    for (const stopAt of [5, 11, 9]) {
      const stop = new AbortController();
      const part = player((call) => {
        if (call === stopAt) stop.abort(new Error("stop"));
        return false;
      });
      const run = runArm({ ...options("stopped", part.sampler), signal: stop.signal });
      await expect(run).rejects.toThrow("stop");
      expect(isArmDone(folder, "digits", "stopped")).toBe(false);
      asked.push(...part.asked);
      // As a kill leaves it: half a line, and a trace whose outcome was not written.
      const place = armFolder(folder, "digits", "stopped");
      const lines = (await readFile(join(place, "outcomes.jsonl"), "utf8")).split("\n");
      await writeFile(join(place, "outcomes.jsonl"), `${lines.slice(0, -2).join("\n")}\n{"reco`);
    }
    const rest = player();
    await runArm(options("stopped", rest.sampler));
    expect(await filesOf("stopped")).toEqual(await filesOf("whole"));
    const kept = new Set(asked).size;
    expect(rest.asked.length).toBeLessThan(30);
    expect(rest.asked.length).toBeGreaterThanOrEqual(30 - kept);
  });

  test("goes on at the sample where it was", async () => {
    const sampled = { samples: 3, temperature: 1 };
    const whole = player();
    const { outcomes } = await runArm(options("whole-sampled", whole.sampler, sampled));
    expect(whole.asked).toHaveLength(90);
    expect(outcomes.map(({ vote }) => vote)).toEqual(Array(90).fill(0));
    const stop = new AbortController();
    const part = player((call) => {
      if (call === 40) stop.abort(new Error("stop"));
      return false;
    });
    const stopped = options("stopped-sampled", part.sampler, sampled);
    await expect(runArm({ ...stopped, signal: stop.signal })).rejects.toThrow("stop");
    const file = join(armFolder(folder, "digits", "stopped-sampled"), "outcomes.jsonl");
    // As a kill leaves it: the last question with two of its samples, and half a line.
    const lines = (await readFile(file, "utf8")).split("\n").slice(0, 20);
    await writeFile(file, `${lines.join("\n")}\n{"reco`);
    const rest = player();
    await runArm(options("stopped-sampled", rest.sampler, sampled));
    expect(rest.asked).toHaveLength(90 - 20);
    expect(await filesOf("stopped-sampled")).toEqual(await filesOf("whole-sampled"));
  });

  test("what the engine fails on once is asked again, and is in the figures", async () => {
    const { sampler, asked } = player((call) => call % 5 === 0 && call <= 30);
    const { outcomes } = await runArm(options("flaky", sampler));
    expect(
      outcomes.every(({ stopReason, score }) => stopReason === "answered" && score === 1),
    ).toBe(true);
    expect(asked).toHaveLength(36);
  });

  test("where too many failed there is no result, and --resume asks those again", async () => {
    const { sampler } = player((_, id) => id === "3" || id === "14");
    await expect(runArm(options("failing", sampler))).rejects.toThrow(
      /2 of 30 questions failed \(6\.7 %; eval\.maxFailed allows 1\.0 %\): q3, q14/,
    );
    expect(isArmDone(folder, "digits", "failing")).toBe(false);
    const left = await readFile(join(armFolder(folder, "digits", "failing"), "outcomes.jsonl"));
    expect(left.toString().match(/"stopReason":"samplerError"/g)).toHaveLength(2);
    const lenient = player((_, id) => id === "14");
    const { outcomes } = await runArm(options("failing", lenient.sampler, { maxFailed: 0.05 }));
    expect(lenient.asked.toSorted()).toEqual(["14", "14", "3"].toSorted());
    expect(
      outcomes.map(({ stopReason }) => stopReason).filter((one) => one !== "answered"),
    ).toEqual(["samplerError"]);
    expect((await readArm(folder, "digits", "failing")).outcomes).toEqual(outcomes);
  });
});
