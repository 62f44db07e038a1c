import { expect, test } from "vitest";
import type { Chunk } from "../types.ts";
import { Router } from "./router.ts";

const prompt = (token: number): Chunk[] => [{ type: "text", tokens: [token] }];

test("groups stay together, work is shared out, sessions return", () => {
  const loads = [0, 0];
  const router = new Router(() => loads);
  const send = (token: number, session?: string): number => {
    const worker = router.choose(prompt(token), session);
    loads[worker]++;
    return worker;
  };
  for (let token = 0; token < 8; token++)
    expect(new Set(Array.from({ length: 8 }, () => send(token))).size).toBe(1);
  expect(loads).toEqual([32, 32]);
  // One prompt for everybody does not keep one worker busy alone.
  for (let i = 0; i < 40; i++) send(99);
  expect(Math.abs(loads[0] - loads[1])).toBeLessThanOrEqual(9);

  const home = send(5, "episode");
  loads[home] = 1000;
  expect(send(7, "episode")).toBe(home);
  expect(router.release("episode")).toBe(home);
  expect(router.release("episode")).toBeUndefined();
  expect(send(7, "episode")).toBe(1 - home);
});
