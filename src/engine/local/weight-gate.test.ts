import { expect, test } from "vitest";
import { WeightGate } from "./weight-gate.ts";

test("a change waits for what is busy, what follows waits for the change", async () => {
  let busy = true;
  let finish: (() => void) | undefined;
  const log: string[] = [];
  const gate = new WeightGate(() => !busy);
  const note = (name: string) => async (): Promise<void> => {
    log.push(name);
  };
  await gate.enter(false, note("a"));
  const change = gate.enter(true, async () => {
    log.push("change");
    await new Promise<void>((resolve) => (finish = resolve));
    throw new Error("no step");
  });
  const controller = new AbortController();
  const dropped = gate.enter(false, note("dropped"), controller.signal);
  const after = gate.enter(false, note("b"));
  controller.abort(new Error("enough"));
  await expect(dropped).rejects.toThrow("enough");
  expect(log).toEqual(["a"]);
  busy = false;
  gate.pump();
  expect(log).toEqual(["a", "change"]);
  finish!();
  await expect(change).rejects.toThrow("no step");
  await after;
  await gate.enter(true, note("c"));
  expect(log).toEqual(["a", "change", "b", "c"]);
});
