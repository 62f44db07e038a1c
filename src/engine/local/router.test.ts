import { expect, test } from "vitest";
import type { ModelImage } from "../../image/model-image.ts";
import type { Chunk } from "../types.ts";
import { Router } from "./router.ts";

const prompt = (token: number): Chunk[] => [{ type: "text", tokens: [token] }];

test("groups stay together and work is shared out", () => {
  const loads = [0, 0];
  const router = new Router(() => loads);
  const send = (token: number): number => {
    const worker = router.choose(prompt(token));
    loads[worker]++;
    return worker;
  };
  for (let token = 0; token < 8; token++)
    expect(new Set(Array.from({ length: 8 }, () => send(token))).size).toBe(1);
  expect(loads).toEqual([32, 32]);
  // One prompt for everybody does not keep one worker busy alone.
  for (let i = 0; i < 40; i++) send(99);
  expect(Math.abs(loads[0] - loads[1])).toBeLessThanOrEqual(9);
});

test("a prompt goes where most of it lies, unless there is too much to do", () => {
  const loads = [0, 0, 0];
  const router = new Router(() => loads);
  const opening: Chunk = { type: "text", tokens: Array.from({ length: 64 }, (_, i) => i) };
  const view: Chunk = { type: "image", image: { hash: "view", numTokens: 64 } as ModelImage };
  const asked: Chunk[] = [opening, view, ...prompt(1)];
  loads[0] = loads[1] = 1;
  expect(router.choose(asked)).toBe(2);
  loads[2] = 7;
  expect(router.choose([...asked, ...prompt(70)])).toBe(2);
  // A third of the prompt makes up for a third of the lead.
  const other: Chunk = { type: "image", image: { hash: "other", numTokens: 128 } as ModelImage };
  loads[2] = 3;
  expect(router.choose([opening, other])).toBe(2);
  loads[2] = 7;
  expect(router.choose([opening, { ...other, image: { ...other.image, hash: "third" } }])).toBe(0);
});
