import { expect, test } from "vitest";
import { kinds } from "../task/kinds.ts";
import { hermes } from "./dialects/hermes.ts";
import { parseTurn } from "./grammar.ts";
import {
  fillPlace,
  observationText,
  observationTexts,
  promptSet,
  promptSetSchema,
  questionText,
  type ToolWords,
} from "./prompts.ts";

const styles = ["direct", "thinking", "grounded", "ungrounded", "tools", "nano"] as const;

test("every style has prompts for every kind, without escapes left in", () => {
  for (const style of styles)
    for (const { words: said } of Object.values(kinds)) {
      const prompts = promptSet(style, said);
      expect(promptSetSchema.parse(prompts)).toEqual(prompts);
      expect(prompts.system ?? "").not.toMatch(/\\n|\\"|undefined/);
    }
});

const words = (name: string): ToolWords => ({
  ability: `You can ${name}.`,
  use: "To do it, the action is {open} with JSON inside.",
  care: ["Do it once."],
  action: name,
  example: { name, args: { coordinate: [3, 4] } },
});

test("tools are told one after the other, what they share once, with calls that parse", () => {
  const tools = [words("jump"), words("sing")];
  const { system } = promptSet("tools", kinds.text.words, { tools });
  if (system === null) throw new Error("no system prompt");
  for (const tool of tools) {
    expect(system).toContain(tool.ability);
    const example = system.slice(system.indexOf(`A reply that ${tool.action}:`));
    expect(parseTurn(example).toolCall).toEqual({ ok: true, call: tool.example });
  }
  expect(system.split("Do it once.")).toHaveLength(2);
  expect(system).toContain("the action is <tool_call> with JSON inside");
});

test("coordinates are told in the frame that the model speaks", () => {
  for (const style of ["grounded", "tools", "steps"] as const) {
    const said = (coordinates: "resized" | "relative") =>
      promptSet(style, kinds.point.words, { coordinates }).system ?? "";
    expect(said("resized")).toContain("pixels");
    expect(said("relative")).not.toContain("pixels");
    expect(said("relative")).toContain("thousandths");
  }
});

test("a dialect of schemas has them between its tags", () => {
  const schema = {
    type: "function",
    function: { name: "jump", description: "jumps", parameters: { type: "object" } },
  } as const;
  const { system } = promptSet("tools", kinds.text.words, { schemas: [schema], dialect: hermes });
  expect(system).toContain(`<tools>\n${JSON.stringify(schema)}\n</tools>`);
});

test("an observation names its place between the tags of the dialect", () => {
  const prompts = promptSet("tools", kinds.text.words);
  const said = fillPlace(prompts.observation, { x: 3, y: 4 });
  const [before, after] = observationTexts(said);
  expect(before).toMatch(/^<observation>\n.*\(3, 4\).*\n$/);
  expect(after).toBe("\n</observation>");
  expect(observationTexts(said, hermes)).toEqual([
    `<tool_response>\n${said}\n`,
    "\n</tool_response>",
  ]);
});

test("the nano observation is the image between its tags", () => {
  const prompts = promptSet("nano", kinds.text.words);
  expect(prompts.system).toBeNull();
  expect(observationTexts(prompts.observation)).toEqual(["<observation>\n", "\n</observation>"]);
  expect(observationText(prompts.faults.outside)).toBe("<observation>\nno\n</observation>");
  expect(questionText(prompts, "which digit?")).toBe("which digit?");
});
