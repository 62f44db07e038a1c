/**
 * Every sentence that the program says to a model: system prompts, observations, the request for an
 * answer. All wording is ours and all of it is data: a recipe may replace any sentence, so that a
 * checkpoint trained on other words is served with those words. One set is used by search, SFT, RL
 * and evaluation alike; the published code had four wordings of the observation alone.
 */
import { z } from "zod";
import type { Coordinates } from "../image/frames.ts";
import type { CallFault, Dialect, ToolCall } from "./dialects/dialect.ts";
import { vigorl } from "./dialects/vigorl.ts";

/** What prompts say of a kind of answer. */
export interface KindWords {
  /** What the model does, as a prompt opens. */
  readonly role: string;
  /** What the answer is. */
  readonly rule: string;
  readonly example: string;
}

/** Why a tool call could not be carried out; what is said then stands in `faults` of the prompts. */
export type ToolFault = CallFault | "noPlace" | "noPicture" | "noArea" | "outside";

/** What the system prompt says of a tool. */
export interface ToolWords {
  readonly ability: string;
  /** How it is called; `{open}` becomes the opening tag. */
  readonly use: string;
  /** What to mind. */
  readonly care: readonly string[];
  /** What a reply that calls it does, in the third person. */
  readonly action: string;
  readonly example: ToolCall;
}

/** A tool as chat templates and the Hermes dialect tell it. */
export interface ToolSchema {
  readonly type: "function";
  readonly function: {
    readonly name: string;
    readonly description: string;
    readonly parameters: unknown;
  };
}

/** What prompts depend on besides style and question. */
export interface PromptContext {
  readonly tools: readonly ToolWords[];
  /** Told in the system prompt; empty where the chat template tells them, or words do. */
  readonly schemas: readonly ToolSchema[];
  readonly dialect: Dialect;
  readonly coordinates: Coordinates;
}

export const promptSetSchema = z.strictObject({
  system: z.string().nullable().describe("the system message; null sends none"),
  questionSuffix: z
    .string()
    .describe("put after every question, on a line of its own; empty puts nothing"),
  observation: z
    .string()
    .describe(
      "said before an enlarged part; `{x}` and `{y}` become the coordinate. Empty says nothing",
    ),
  observationDot: z.string().describe("added to `observation` when a dot marks the point"),
  faults: z
    .strictObject({
      notJson: z.string(),
      severalCalls: z.string(),
      unknownTool: z.string(),
      badArguments: z.string(),
      noPlace: z.string(),
      noPicture: z.string(),
      noArea: z.string(),
      outside: z.string(),
    } satisfies Record<ToolFault, z.ZodString>)
    .describe("said where a tool call could not be carried out"),
  forcedThink: z
    .string()
    .describe("the thought that opens a forced answer; empty opens the answer without a thought"),
});

export type PromptSet = z.infer<typeof promptSetSchema>;

/**
 * How a model is asked to work. "steps" is for search: one thought at a time, at a place each;
 * "textSteps" the same in words alone. "nano" says next to
 * nothing: that model knows some 600 words.
 */
export type PromptStyle =
  "direct" | "thinking" | "grounded" | "ungrounded" | "tools" | "steps" | "textSteps" | "nano";

/** The prompts of a style for one kind of answer. */
export function promptSet(
  style: PromptStyle,
  words: KindWords,
  context: Partial<PromptContext> = {},
): PromptSet {
  if (style === "nano") return nanoPrompts;
  const { tools = [], schemas = [], dialect = vigorl, coordinates = "resized" } = context;
  const system = systemPrompt(style, words, { tools, schemas, dialect, coordinates });
  return { ...spokenPrompts, system };
}

/** Puts a coordinate into a sentence. */
export function fillPlace(words: string, at: { readonly x: number; readonly y: number }): string {
  return words.replaceAll("{x}", String(at.x)).replaceAll("{y}", String(at.y));
}

/** What the environment says around a picture that a tool returned: text, image, text. */
export function observationTexts(
  words: string,
  { tags }: Dialect = vigorl,
): readonly [before: string, after: string] {
  const line = words === "" ? "" : `${words}\n`;
  return [`${tags.observation.open}\n${line}`, `\n${tags.observation.close}`];
}

/** What the environment says where no picture came back. */
export function observationText(words: string, { tags }: Dialect = vigorl): string {
  return `${tags.observation.open}\n${words}\n${tags.observation.close}`;
}

/** The question as the user message puts it. */
export function questionText(prompts: PromptSet, question: string): string {
  return prompts.questionSuffix === "" ? question : `${question}\n${prompts.questionSuffix}`;
}

const spokenPrompts: Omit<PromptSet, "system"> = {
  questionSuffix: "",
  observation: "This is the part of the image around ({x}, {y}), enlarged.",
  observationDot: "A red dot marks the point.",
  faults: {
    notJson: "The tool call is not valid JSON, so nothing was done.",
    severalCalls: "Only one tool call at a time can be carried out, so nothing was done.",
    unknownTool: "There is no tool of that name, so nothing was done.",
    badArguments: "The tool does not take these arguments, so nothing was done.",
    noPlace: "The tool call names no place that this tool takes, so nothing was done.",
    noPicture: "There is no image of that number, so nothing was done.",
    noArea: "The box has no area: write [x0, y0, x1, y1] with x0 < x1 and y0 < y1.",
    outside: "That place lies outside the image, so nothing was done.",
  },
  forcedThink: "I have looked enough and give my answer now.",
};

const nanoPrompts: PromptSet = {
  system: null,
  questionSuffix: "",
  observation: "",
  observationDot: "",
  faults: {
    notJson: "no",
    severalCalls: "no",
    unknownTool: "no",
    badArguments: "no",
    noPlace: "no",
    noPicture: "no",
    noArea: "no",
    outside: "no",
  },
  forcedThink: "",
};

function systemPrompt(
  style: Exclude<PromptStyle, "nano">,
  words: KindWords,
  context: PromptContext,
): string {
  const { tags } = context.dialect;
  const answer = `${tags.answer.open} ${words.example} ${tags.answer.close}`;
  if (style === "direct") return `${words.role}\n${words.rule} Reply with the answer alone.`;
  if (style === "tools") return toolsSystemPrompt(words, context, answer);
  if (style === "steps" || style === "textSteps")
    return stepsSystemPrompt(words, context, answer, style === "steps");
  const grounding: Record<"thinking" | "grounded" | "ungrounded", readonly string[]> = {
    thinking: [],
    grounded: [
      `Work in small steps. Each step looks at one place of the image and names it as (x, y), in ${UNITS[context.coordinates]} of the image you see, counted from its top left corner.`,
      "Look at different places before you decide, and check your finding at the end.",
    ],
    ungrounded: [
      "Work in small steps. Describe places in words and write no coordinates.",
      "Look at different places before you decide, and check your finding at the end.",
    ],
  };
  return [
    words.role,
    "",
    "Rules:",
    ...bullets([
      `First think between ${tags.think.open} and ${tags.think.close}, then answer once between ${tags.answer.open} and ${tags.answer.close}. Write both parts and nothing else.`,
      ...grounding[style],
      answerRule(words, context),
      "When you are unsure, give the most likely answer.",
    ]),
    "",
    "Form of a reply:",
    `${tags.think.open}`,
    style === "grounded" ? "... (x1, y1) ... (x2, y2) ..." : "...",
    `${tags.think.close}`,
    answer,
  ].join("\n");
}

function toolsSystemPrompt(words: KindWords, context: PromptContext, answer: string): string {
  const { tools, dialect, coordinates } = context;
  const { tags } = dialect;
  const thought = `${tags.think.open} ... ${tags.think.close}`;
  return [
    words.role,
    ...tools.map(({ ability }) => ability),
    ...schemaLines(context),
    "",
    "Rules:",
    ...bullets([
      `Every reply is one thought between ${tags.think.open} and ${tags.think.close}, followed by exactly one action.`,
      "A thought speaks about one place of the image and names it as (x, y).",
      ...tools.map(({ use }) => use.replaceAll("{open}", tags.toolCall.open)),
      FULL_IMAGE[coordinates],
      ...new Set(tools.flatMap(({ care }) => care)),
      `Once you are sure, the action is ${tags.answer.open} with the answer inside.`,
      answerRule(words, context),
      "When you are unsure at the end, give the most likely answer.",
    ]),
    "",
    ...tools.flatMap(({ action, example }) => [
      `A reply that ${action}:`,
      thought,
      `${tags.toolCall.open}\n${dialect.write(example)}\n${tags.toolCall.close}`,
      "",
    ]),
    "A reply that answers:",
    thought,
    answer,
  ].join("\n");
}

/** Tools as JSON schemas, a line each, as models of the Hermes dialect were trained to see them. */
function schemaLines({ schemas }: PromptContext): string[] {
  if (schemas.length === 0) return [];
  const lines = schemas.map((schema) => JSON.stringify(schema));
  return ["", "Tools, as JSON schemas:", "<tools>", ...lines, "</tools>"];
}

function stepsSystemPrompt(
  words: KindWords,
  context: PromptContext,
  answer: string,
  isGrounded: boolean,
): string {
  const { tags } = context.dialect;
  const named = isGrounded
    ? `names it once as (x, y), in ${UNITS[context.coordinates]} counted from the top left corner, `
    : "names it in words without coordinates, ";
  const repeated = isGrounded ? "no coordinate comes" : "none comes";
  return [
    words.role,
    "You work in single steps. A step is one thought, or the answer.",
    "",
    "Rules:",
    ...bullets([
      `A thought stands between ${tags.think.open} and ${tags.think.close}. It looks at one region of the image, ${named}says what is there, and what that means for the task and for the thoughts before.`,
      `Regions do not overlap, and ${repeated} twice. Look at different regions first, unlikely ones too, before you decide.`,
      "Check your finding once more before you answer.",
      `The answer stands between ${tags.answer.open} and ${tags.answer.close}.`,
      answerRule(words, context),
      "When you are unsure, give the most likely answer.",
    ]),
    "",
    "Form of a step:",
    `${tags.think.open} ... ${isGrounded ? "(x, y) ... " : ""}${tags.think.close}`,
    "or",
    answer,
  ].join("\n");
}

const UNITS: Record<Coordinates, string> = {
  resized: "whole pixels",
  relative: "thousandths of the sides",
};

const FULL_IMAGE: Record<Coordinates, string> = {
  resized:
    "Coordinates are whole pixels of the full image you see first, counted from its top left corner, also after an enlargement.",
  relative:
    "Coordinates are thousandths of the width and height of the full image you see first, from (0, 0) at its top left corner to (1000, 1000), also after an enlargement.",
};

function answerRule(words: KindWords, { coordinates }: PromptContext): string {
  return words.rule.replace(UNITS.resized, UNITS[coordinates]);
}

function bullets(lines: readonly string[]): string[] {
  return lines.map((line) => `- ${line}`);
}
