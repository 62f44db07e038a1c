import { expect, test } from "vitest";
import { parseConfig } from "./core/config.ts";
import { recipeSchema } from "./recipe.ts";

const parse = (text: string) => parseConfig(text, "r.yaml", recipeSchema, []);

test("the pipeline's runs of GRPO are the recipe's own", () => {
  const { demo } = parse(
    "demo: { arms: { looks: { steps: 3 }, blindly: { tools: false } }, main: looks }",
  );
  expect(demo).toEqual({
    main: "looks",
    arms: {
      looks: { from: "sft", tools: true, steps: 3 },
      blindly: { from: "sft", tools: false },
    },
  });
});

test.each([
  ["demo: { main: none }", "demo.main: must be one of demo.arms"],
  [
    "demo: { arms: { sft: {} }, main: sft }",
    "must be under a key that is the name of no other arm",
  ],
  [
    "demo: { arms: { crop-blank: {} }, main: crop-blank }",
    "must be under a key that is the name of no other arm",
  ],
  ["demo: { singleSteps: 3 }", "unknown key demo.singleSteps; did you mean arms?"],
  ["demo: { samplesRl: false }", "unknown key demo.samplesRl; did you mean arms?"],
])("%s is refused", (text, message) => {
  expect(() => parse(text)).toThrow(message);
});
