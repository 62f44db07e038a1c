import { expect, test } from "vitest";
import { digitRecord, smallConfig } from "../task/fixtures/scene.ts";
import { searchConfig } from "./search-config.ts";
import { openStepper } from "./steps.ts";

test("trees are not grown with a tool that keeps something between its calls", async () => {
  const config = smallConfig({});
  const open = () => Promise.resolve({ close: () => Promise.resolve() });
  const tools = config.tools.map((tool) => ({ ...tool, key: "browser", open }));
  const rules = { ...searchConfig.parse({}), steps: "turn" as const };
  await expect(openStepper(digitRecord, { ...config, tools }, rules, 1)).rejects.toThrow(
    "search: browser keeps something between its calls",
  );
  await openStepper(digitRecord, { ...config, tools }, { ...rules, steps: "thought" }, 1);
});
