import { expect, test } from "vitest";
import { parseTurn } from "./grammar.ts";
import {
  answerKinds,
  faultText,
  observationTexts,
  promptSet,
  promptSetSchema,
  questionText,
} from "./prompts.ts";

const styles = ["direct", "thinking", "grounded", "ungrounded", "zoom", "nano"] as const;
const kinds = answerKinds;

test("every style has prompts for every kind, without escapes left in", () => {
  for (const style of styles)
    for (const kind of kinds) {
      const prompts = promptSet(style, kind);
      expect(promptSetSchema.parse(prompts)).toEqual(prompts);
      expect(prompts.system ?? "").not.toMatch(/\\n|\\"|undefined/);
    }
});

test("the zoom prompt shows a call that parses", () => {
  const system = promptSet("zoom", "text", "crop").system ?? "";
  const example = system.slice(system.indexOf("A reply that enlarges:"));
  expect(parseTurn(example).toolCall).toMatchObject({ ok: true, call: { name: "crop" } });
});

test("an observation tells of the dot only where one is drawn", () => {
  const prompts = promptSet("zoom", "text");
  const [before, after] = observationTexts(prompts, { x: 3, y: 4 }, false);
  expect(before).toMatch(/^<observation>\n.*\(3, 4\).*\n$/);
  expect(before).not.toContain("dot");
  expect(after).toBe("\n</observation>");
  expect(observationTexts(prompts, { x: 3, y: 4 }, true)[0]).toContain("red dot");
});

test("the nano observation is the image between its tags", () => {
  const prompts = promptSet("nano", "text");
  expect(prompts.system).toBeNull();
  expect(observationTexts(prompts, { x: 3, y: 4 }, false)).toEqual([
    "<observation>\n",
    "\n</observation>",
  ]);
  expect(faultText(prompts, "outside")).toBe("<observation>\nno\n</observation>");
  expect(questionText(prompts, "which digit?")).toBe("which digit?");
});
