import { expect, test } from "vitest";
import { parseConfig, parseOverride } from "./core/config.ts";
import { runProfiles } from "./recipe-profiles.ts";
import { recipeSchema } from "./recipe.ts";

const recipe = (text: string, ...flags: string[]) =>
  parseConfig(
    text,
    "r.yaml",
    recipeSchema,
    flags.map((flag) => parseOverride(flag)!),
  );

test("one word sets every section's profile, single-turn", () => {
  const { tools, episode, image, search, linearize, sft, rl, ...rest } = recipe("profile: repo\n");
  expect(tools).toEqual({});
  expect(episode).toMatchObject({ maxTokensPerTurn: 2048, maxTotalTokens: 2048 });
  expect(image).toMatchObject({ minPixels: 3136, maxPixels: 4_194_304 });
  expect([search.profile, linearize.profile, sft.profile, rl.profile]).toEqual(
    Array.from({ length: 4 }, () => "repo"),
  );
  expect(linearize.turns).toBe("auto");
  expect([search.simulations, sft.epochs, rl.groupSize, rl.reward.profile]).toEqual([
    8,
    1,
    5,
    "repo",
  ]);
  expect(rest.eval).toMatchObject({
    temperature: 0.5,
    topP: 1,
    judge: "repo",
    malformed: "wrong",
    image: { maxPixels: 12_960_000 },
    episode: { maxTokensPerTurn: 2048 },
  });
});

test.each([
  [
    "repo-multi",
    { windowPx: 364, outputPx: 672, drawDot: false, mode: "repo", name: "search_coordinate" },
    2048,
  ],
  [
    "paper-multi",
    { windowPx: 100, outputPx: 384, drawDot: false, mode: "default", name: "crop" },
    4096,
  ],
])("%s offers the zoom, with its limits", (profile, zoom, maxTotalTokens) => {
  const made = recipe("", `--profile=${profile}`);
  expect(made.tools.zoom).toMatchObject(zoom);
  expect(made.episode).toMatchObject({ maxTurns: 5, maxToolImages: 4, maxTokensPerTurn: 1024 });
  expect(made.episode.maxTotalTokens).toBe(maxTotalTokens);
  expect(made.image.maxPixels).toBe(2_850_000);
  expect(made.linearize.turns).toBe("spliced");
  expect([made.rl.profile, made.rl.groupSize]).toEqual([profile, 8]);
  expect(made.eval.episode?.maxTokensPerTurn).toBe(2048);
});

test("what a section says itself stays, its profile and single keys, nested ones too", () => {
  const text = [
    "profile: repo-multi",
    "tools: { zoom: { profile: repo-web, outputPx: 392 } }",
    "sft: { profile: default }",
    "rl: { reward: { weights: { format: 0.2 } } }",
    "eval: { profile: repo-spatial, image: { maxPixels: 100000 } }",
  ].join("\n");
  const made = recipe(text, "--episode.maxTurns=3");
  expect(made.tools.zoom).toMatchObject({ windowPx: 100, outputPx: 392, drawDot: true });
  expect(made.sft.learningRate).toBe(2e-4);
  expect(made.rl.reward).toMatchObject({ profile: "repo", weights: { format: 0.2 } });
  expect(made.eval.image).toMatchObject({ minPixels: 4096, maxPixels: 100_000, maxSide: 1260 });
  expect(made.episode).toMatchObject({ maxTurns: 3, maxTotalTokens: 2048 });
});

test("tools that a recipe names are kept to", () => {
  expect(recipe("profile: repo-multi\ntools: { mark: {} }\n").tools.zoom).toBeUndefined();
  expect(recipe("profile: repo-multi\ntools: {}\n").tools).toEqual({});
  expect(recipe("profile: repo\ntools: { zoom: {} }\n").tools.zoom).toMatchObject({
    windowPx: 364,
    mode: "repo",
  });
});

test.each(runProfiles)("%s reads back from a manifest as it was written down", (profile) => {
  const made = recipe(`profile: ${profile}\n`);
  expect(recipe(JSON.stringify(made))).toEqual(made);
});

test("an unknown profile is refused, here and in a section", () => {
  expect(() => recipe("profile: repoo\n")).toThrow(/r\.yaml:1: profile must be one of "default"/);
  for (const key of ["tools.zoom", "episode", "image", "eval"])
    expect(() => recipe("", `--${key}.profile=repoo`)).toThrow(`${key}.profile must be one of`);
});

test("a search in words alone needs chains that name no place", () => {
  const flag = "--search.prompts.grounded=false";
  expect(() => recipe("", flag)).toThrow("linearize.minPoints: must be 0 where search.prompts");
  expect(recipe("", flag, "--linearize.minPoints=0").search.prompts.grounded).toBe(false);
  expect(recipe("profile: repo\n", flag).linearize.minPoints).toBe(1);
});

test("several greedy samples are refused", () => {
  expect(() => recipe("eval: { samples: 3 }\n")).toThrow(/eval\.samples: 1, or eval\.temperature/);
  expect(recipe("profile: paper\neval: { samples: 3 }\n").eval.samples).toBe(3);
});
