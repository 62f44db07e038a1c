/**
 * Control experiments as decorators: the same tool with one thing taken away. They ask whether what a
 * tool returns matters, and hold for every tool that returns a picture; `elsewhere` for those that
 * find their place by `scene.locate`.
 */
import { fillBlack } from "../../image/crop.ts";
import type { Rng } from "../../core/random.ts";
import { box, point, type Size } from "../../image/frames.ts";
import { blankLike } from "../../image/model-image.ts";
import { clip } from "./place-args.ts";
import type { Target, Tool } from "./tool.ts";

/** What is offered instead of a tool; null: nothing. */
export type ToolControl = (tool: Tool) => Tool | null;

/** Returns black pictures of the same size. */
export const blank: ToolControl = (tool) => ({
  ...tool,
  control: "blank",
  async run(args, scene, random) {
    const outcome = await tool.run(args, scene, random);
    const { gives } = outcome;
    if (gives === null) return outcome;
    const seen = blankLike(gives.seen);
    return { ...outcome, gives: { ...gives, seen, pixels: () => fillBlack(gives.pixels()) } };
  },
});

/** Looks at a random other place of the picture. */
export const elsewhere: ToolControl = (tool) => ({
  ...tool,
  control: "elsewhere",
  run: (args, scene, random) =>
    tool.run(
      args,
      {
        ...scene,
        locate(written, rules) {
          const located = scene.locate(written, rules);
          const { picture, target, fault } = located;
          if (picture === null || target === null || fault !== null) return located;
          return { ...located, target: otherPlace(target, picture.seen, rules.reachPx, random) };
        },
      },
      random,
    ),
});

/** Offers no tool. */
export const none: ToolControl = () => null;

/**
 * Uniform over the picture, but a window away from where the model pointed, if one of 100 draws is; a
 * box keeps its size.
 */
function otherPlace(target: Target, size: Size, reachPx: number, random: Rng): Target {
  const area = "x0" in target ? clip(target, size) : { x0: 0, y0: 0, x1: 1, y1: 1 };
  const width = area.x1 - area.x0;
  const height = area.y1 - area.y0;
  const from = "x0" in target ? { x: area.x0, y: area.y0 } : target;
  const away = "x0" in target ? Math.max(width, height) : reachPx;
  let x = 0;
  let y = 0;
  for (let draw = 0; draw < 100; draw++) {
    x = random.int(0, Math.floor(size.widthPx - width));
    y = random.int(0, Math.floor(size.heightPx - height));
    if (Math.max(Math.abs(x - from.x), Math.abs(y - from.y)) >= away) break;
  }
  return "x0" in target ? box("resized", x, y, x + width, y + height) : point("resized", x, y);
}
