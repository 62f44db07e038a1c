import { setTimeout as sleep } from "node:timers/promises";
import { beforeEach, describe, expect, test } from "vitest";
import type { EpisodeConfig } from "../episode-config.ts";
import { runEpisode } from "../episode.ts";
import { answerTurn, chat, digitRecord, smallConfig } from "../fixtures/scene.ts";
import { ScriptedSampler, type Line } from "../fixtures/scripted-sampler.ts";
import type { Tool, ToolSession } from "./tool.ts";
import { makeTools, usualTools } from "./table.ts";

/** Counts its calls: what a call gives hangs on those before it. */
class Counter implements ToolSession {
  static opened = 0;
  static open = 0;
  calls = 0;
  isClosed = false;
  constructor() {
    Counter.opened++;
    Counter.open++;
  }
  close(): Promise<void> {
    if (this.isClosed) throw new Error("closed twice");
    this.isClosed = true;
    Counter.open--;
    return Promise.resolve();
  }
}

interface Faults {
  open?: (signal: AbortSignal | undefined) => Promise<void>;
  run?: (signal: AbortSignal | undefined) => Promise<void>;
  close?: () => void;
}

function counting({ open, run, close }: Faults = {}): Tool {
  const [zoom] = makeTools(usualTools);
  return {
    ...zoom,
    key: "count",
    givesPicture: false,
    async open(signal) {
      await open?.(signal);
      const session = new Counter();
      const closed = session.close.bind(session);
      session.close = async () => {
        await closed();
        close?.();
      };
      return session;
    },
    async run(_, { session, signal }) {
      await run?.(signal);
      if (!(session instanceof Counter) || session.isClosed) throw new Error("no session");
      const text = `call ${++session.calls}`;
      return { located: null, gives: null, text, fault: null, ends: false };
    },
  };
}

const call =
  '<think> look </think>\n<tool_call>\n{"name": "search_coordinate", "arguments": {"coordinate": [1, 2]}}\n</tool_call>';

function play(script: readonly Line[], faults: Faults = {}, signal?: AbortSignal, seed = 1) {
  const config: EpisodeConfig = { ...smallConfig({}), tools: [counting(faults)] };
  const sampler = new ScriptedSampler(chat.tokenizer, script);
  return runEpisode(sampler, digitRecord, config, seed, signal === undefined ? {} : { signal });
}

beforeEach(() => void ([Counter.opened, Counter.open] = [0, 0]));

test("the calls of an episode share a session, those of others have their own", async () => {
  const episodes = await Promise.all([
    play([call, call, answerTurn("7")]),
    play([call, answerTurn("7")], {}, undefined, 2),
    play([answerTurn("7")], {}, undefined, 3),
  ]);
  expect(episodes.map(({ toolUses }) => toolUses.map(({ text }) => text))).toEqual([
    ["call 1", "call 2"],
    ["call 1"],
    [],
  ]);
  expect(episodes.every(({ stopReason }) => stopReason === "answered")).toBe(true);
  expect([Counter.opened, Counter.open]).toEqual([2, 0]);
});

describe("a session is closed however its episode ends", () => {
  const broken = () => Promise.reject(new Error("the page crashed"));

  test.each([
    ["without an answer", [call, "nothing"], {}, "noAnswer", null],
    ["with an engine that fails", [call, new Error("cable cut")], {}, "samplerError", "cable cut"],
    ["with a tool that fails", [call], { run: broken }, "toolError", "the page crashed"],
  ] as const)("%s", async (_, script, faults, stopReason, error) => {
    const episode = await play(script, faults);
    expect(episode).toMatchObject({ stopReason, error });
    expect([Counter.opened, Counter.open]).toEqual([1, 0]);
  });

  test("a session that does not open, or not close, ends the episode by name", async () => {
    expect(await play([call], { open: broken })).toMatchObject({
      stopReason: "toolError",
      error: "the page crashed",
    });
    expect(Counter.opened).toBe(0);
    const close = () => {
      throw new Error("still busy");
    };
    expect(await play([call, answerTurn("7")], { close })).toMatchObject({
      stopReason: "toolError",
      error: "still busy",
    });
    expect(Counter.open).toBe(0);
  });

  test.each([["open"], ["run"]] as const)("by an abort while it has to %s", async (when) => {
    const controller = new AbortController();
    const reason = new Error("enough");
    const until = async (signal: AbortSignal | undefined) => {
      controller.abort(reason);
      await sleep(10_000, undefined, { signal });
    };
    await expect(play([call], { [when]: until }, controller.signal)).rejects.toBe(reason);
    expect(Counter.open).toBe(0);
  });
});
