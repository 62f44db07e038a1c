/**
 * Every sentence that the program says to a model: system prompts, observations, the request for an
 * answer. All wording is ours and all of it is data: a recipe may replace any sentence, so that a
 * checkpoint trained on other words is served with those words. One set is used by search, SFT, RL
 * and evaluation alike; the published code had four wordings of the observation alone.
 */
import { z } from "zod";
import { defaultTags, type Tags } from "./grammar.ts";
import { formatToolCall, type ToolCallFault } from "./tool-call.ts";

/** What a task asks for. */
export const answerKinds = ["text", "choice", "number", "point", "action"] as const;
export type AnswerKind = (typeof answerKinds)[number];

/** What the environment says when there is no crop to show. */
export type ToolFault = ToolCallFault | "outside";

export const promptSetSchema = z.strictObject({
  system: z.string().nullable().describe("the system message; null sends none"),
  questionSuffix: z
    .string()
    .describe("put after every question, on a line of its own; empty puts nothing"),
  observation: z
    .string()
    .describe("said before a crop; `{x}` and `{y}` become the coordinate. Empty says nothing"),
  observationDot: z.string().describe("added to `observation` when a dot marks the point"),
  faults: z
    .strictObject({
      notJson: z.string(),
      unknownTool: z.string(),
      noPlace: z.string(),
      outside: z.string(),
    })
    .describe("said instead of a crop"),
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
  "direct" | "thinking" | "grounded" | "ungrounded" | "zoom" | "steps" | "nano";

/** The prompts of a style for one kind of task. `toolName` is what "zoom" tells the model to call. */
export function promptSet(
  style: PromptStyle,
  kind: AnswerKind,
  toolName = "search_coordinate",
  tags: Tags = defaultTags,
): PromptSet {
  if (style === "nano") return nanoPrompts;
  return { ...spokenPrompts, system: systemPrompt(style, kind, toolName, tags) };
}

/** What the environment says around a crop: text, image, text, as parts of one user message. */
export function observationTexts(
  prompts: PromptSet,
  at: { readonly x: number; readonly y: number },
  dotDrawn: boolean,
  tags: Tags = defaultTags,
): readonly [before: string, after: string] {
  const sentence = [prompts.observation, ...(dotDrawn ? [prompts.observationDot] : [])]
    .filter((part) => part !== "")
    .join(" ")
    .replaceAll("{x}", String(at.x))
    .replaceAll("{y}", String(at.y));
  const line = sentence === "" ? "" : `${sentence}\n`;
  return [`${tags.observation.open}\n${line}`, `\n${tags.observation.close}`];
}

/** The observation that stands in for a crop when the call could not be carried out. */
export function faultText(prompts: PromptSet, fault: ToolFault, tags: Tags = defaultTags): string {
  return `${tags.observation.open}\n${prompts.faults[fault]}\n${tags.observation.close}`;
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
    notJson: "The tool call is not valid JSON, so nothing was enlarged.",
    unknownTool: "There is no tool of that name, so nothing was enlarged.",
    noPlace: "The tool call names no coordinate [x, y], so nothing was enlarged.",
    outside: "That coordinate lies outside the image, so nothing was enlarged.",
  },
  forcedThink: "I have looked enough and give my answer now.",
};

const nanoPrompts: PromptSet = {
  system: null,
  questionSuffix: "",
  observation: "",
  observationDot: "",
  faults: { notJson: "no", unknownTool: "no", noPlace: "no", outside: "no" },
  forcedThink: "",
};

function systemPrompt(
  style: Exclude<PromptStyle, "nano">,
  kind: AnswerKind,
  toolName: string,
  tags: Tags,
): string {
  const answer = `${tags.answer.open} ${ANSWER_EXAMPLES[kind]} ${tags.answer.close}`;
  if (style === "direct")
    return `${ROLES[kind]}\n${ANSWER_RULES[kind]} Reply with the answer alone.`;
  if (style === "zoom") return zoomSystemPrompt(kind, toolName, tags, answer);
  if (style === "steps") return stepsSystemPrompt(kind, tags, answer);
  const grounding: Record<"thinking" | "grounded" | "ungrounded", readonly string[]> = {
    thinking: [],
    grounded: [
      "Work in small steps. Each step looks at one place of the image and names it as (x, y), in whole pixels of the image you see, counted from its top left corner.",
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
      ANSWER_RULES[kind],
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

function zoomSystemPrompt(kind: AnswerKind, toolName: string, tags: Tags, answer: string): string {
  const call = formatToolCall({ name: toolName, place: { kind: "point", x: 320, y: 200 } });
  return [
    ROLES[kind],
    "You can enlarge the part of the image around any point, to see details that are too small.",
    "",
    "Rules:",
    ...bullets([
      `Every reply is one thought between ${tags.think.open} and ${tags.think.close}, followed by exactly one action.`,
      "A thought speaks about one place of the image and names it as (x, y).",
      `To enlarge a place, the action is ${tags.toolCall.open} with JSON inside. You get the enlarged part in the next message.`,
      "Coordinates are whole pixels of the full image you see first, counted from its top left corner, also after an enlargement.",
      "Do not enlarge the same place twice, nor one a few pixels away from it.",
      `Once you are sure, the action is ${tags.answer.open} with the answer inside.`,
      ANSWER_RULES[kind],
      "When you are unsure at the end, give the most likely answer.",
    ]),
    "",
    "A reply that enlarges:",
    `${tags.think.open} ... ${tags.think.close}`,
    `${tags.toolCall.open}\n${call}\n${tags.toolCall.close}`,
    "",
    "A reply that answers:",
    `${tags.think.open} ... ${tags.think.close}`,
    answer,
  ].join("\n");
}

function stepsSystemPrompt(kind: AnswerKind, tags: Tags, answer: string): string {
  return [
    ROLES[kind],
    "You work in single steps. A step is one thought, or the answer.",
    "",
    "Rules:",
    ...bullets([
      `A thought stands between ${tags.think.open} and ${tags.think.close}. It looks at one region of the image, names it once as (x, y), in whole pixels counted from the top left corner, says what is there, and what that means for the task and for the thoughts before.`,
      "Regions do not overlap, and no coordinate comes twice. Look at different regions first, unlikely ones too, before you decide.",
      "Check your finding once more before you answer.",
      `The answer stands between ${tags.answer.open} and ${tags.answer.close}.`,
      ANSWER_RULES[kind],
      "When you are unsure, give the most likely answer.",
    ]),
    "",
    "Form of a step:",
    `${tags.think.open} ... (x, y) ... ${tags.think.close}`,
    "or",
    answer,
  ].join("\n");
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
