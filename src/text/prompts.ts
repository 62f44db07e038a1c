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

/** What a task asks for. */
export const answerKinds = ["text", "choice", "number", "point", "action"] as const;
export type AnswerKind = (typeof answerKinds)[number];

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
 * How a model is asked to work. "steps" is for search: one thought at a time. "nano" says next to
 * nothing: that model knows some 600 words.
 */
export type PromptStyle =
  "direct" | "thinking" | "grounded" | "ungrounded" | "tools" | "steps" | "nano";

/** The prompts of a style for one kind of task. */
export function promptSet(
  style: PromptStyle,
  kind: AnswerKind,
  context: Partial<PromptContext> = {},
): PromptSet {
  if (style === "nano") return nanoPrompts;
  const { tools = [], schemas = [], dialect = vigorl, coordinates = "resized" } = context;
  const system = systemPrompt(style, kind, { tools, schemas, dialect, coordinates });
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
  kind: AnswerKind,
  context: PromptContext,
): string {
  const { tags } = context.dialect;
  const answer = `${tags.answer.open} ${ANSWER_EXAMPLES[kind]} ${tags.answer.close}`;
  if (style === "direct")
    return `${ROLES[kind]}\n${ANSWER_RULES[kind]} Reply with the answer alone.`;
  if (style === "tools") return toolsSystemPrompt(kind, context, answer);
  if (style === "steps") return stepsSystemPrompt(kind, context, answer);
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
    ROLES[kind],
    "",
    "Rules:",
    ...bullets([
      `First think between ${tags.think.open} and ${tags.think.close}, then answer once between ${tags.answer.open} and ${tags.answer.close}. Write both parts and nothing else.`,
      ...grounding[style],
      answerRule(kind, context),
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

function toolsSystemPrompt(kind: AnswerKind, context: PromptContext, answer: string): string {
  const { tools, dialect, coordinates } = context;
  const { tags } = dialect;
  const thought = `${tags.think.open} ... ${tags.think.close}`;
  return [
    ROLES[kind],
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
      answerRule(kind, context),
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

function stepsSystemPrompt(kind: AnswerKind, context: PromptContext, answer: string): string {
  const { tags } = context.dialect;
  return [
    ROLES[kind],
    "You work in single steps. A step is one thought, or the answer.",
    "",
    "Rules:",
    ...bullets([
      `A thought stands between ${tags.think.open} and ${tags.think.close}. It looks at one region of the image, names it once as (x, y), in ${UNITS[context.coordinates]} counted from the top left corner, says what is there, and what that means for the task and for the thoughts before.`,
      "Regions do not overlap, and no coordinate comes twice. Look at different regions first, unlikely ones too, before you decide.",
      "Check your finding once more before you answer.",
      `The answer stands between ${tags.answer.open} and ${tags.answer.close}.`,
      answerRule(kind, context),
      "When you are unsure, give the most likely answer.",
    ]),
    "",
    "Form of a step:",
    `${tags.think.open} ... (x, y) ... ${tags.think.close}`,
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

function answerRule(kind: AnswerKind, { coordinates }: PromptContext): string {
  return ANSWER_RULES[kind].replace(UNITS.resized, UNITS[coordinates]);
}

function bullets(lines: readonly string[]): string[] {
  return lines.map((line) => `- ${line}`);
}

const ROLES: Record<AnswerKind, string> = {
  text: "You answer questions about an image.",
  choice: "You answer multiple-choice questions about one image, or about two images side by side.",
  number: "You answer questions about an image with a number.",
  point: "You find the element of an image that a description names.",
  action:
    "You operate a web browser. You get an objective, the actions so far, and a screenshot in which every element you can act on has a numbered box.",
};

const ANSWER_RULES: Record<AnswerKind, string> = {
  text: "The answer is short: a word or a few.",
  choice: "The answer is the text of one choice, without its letter: right, not A. right.",
  number: "The answer is a number in digits.",
  point:
    "The answer is one point (x, y) in whole pixels, as near the centre of the element as you can.",
  action:
    "The answer is one action: click [id], type [id] [text] (Enter is pressed after it), scroll [down], scroll [up], go_back, or stop [answer] when the objective is reached.",
};

const ANSWER_EXAMPLES: Record<AnswerKind, string> = {
  text: "...",
  choice: "...",
  number: "7",
  point: "(x, y)",
  action: "click [12]",
};
