/** How a conversation is written: its parts, each with its share in the loss. */
import { point } from "../image/frames.ts";
import { formatTurn } from "../text/grammar.ts";
import { lookThought, markThought } from "./language.ts";
import type { Mark } from "./inks.ts";
import type { Thing } from "./sights.ts";

/** A stretch of a conversation. `weight` is its share in the loss, 0 for what others write. */
export type ChatPart =
  | { readonly type: "text"; readonly text: string; readonly weight: number }
  | { readonly type: "image"; readonly which: "view" | CropIndex };

/** Which of a sight's crops. */
export type CropIndex = number;

/** Weights of names that are a matter of chance, and of fixed forms that are learned at once. */
export interface ChatWeights {
  readonly chance: number;
  readonly form: number;
  /** Share of searches, relations and clicks that look at what the question names. Default 0. */
  readonly questionConditioned?: number;
  /** Share of conversations with several looks that look where their question needs it. Default 0. */
  readonly toursConditioned?: number;
}

export type TextPart = Extract<ChatPart, { type: "text" }>;
export type ImagePart = Extract<ChatPart, { type: "image" }>;

export const view: ImagePart = { type: "image", which: "view" };

/** A user message with images before its text, then an assistant message with its end. */
export function ask(images: readonly ImagePart[], question: string, answer: readonly TextPart[]) {
  return [
    part("<|im_start|>user\n", 0),
    ...images.flatMap((image): ChatPart[] => [
      part("<|vision_start|>", 0),
      image,
      part("<|vision_end|>", 0),
    ]),
    part(`${question}<|im_end|>\n<|im_start|>assistant\n`, 0),
    ...answer,
    part("<|im_end|>", 0.1),
  ];
}

/** A turn that thinks, and answers unless `answer` is empty. */
export function reply(
  thought: readonly TextPart[],
  answer: readonly TextPart[] | "",
  weights: ChatWeights,
): TextPart[] {
  const turn = formatTurn({ think: mark, answer: answer === "" ? mark : "@@" });
  const [, between, end] = turn.split(/@+/);
  if (answer === "") return [...opening(weights), ...thought, part(" </think>", weights.form)];
  return [
    ...opening(weights),
    ...thought,
    part(between.trimEnd(), weights.form),
    ...answer,
    part(end, weights.form),
  ];
}

const mark = "@";

export function opening(weights: ChatWeights): TextPart[] {
  const [open] = formatTurn({ think: mark, answer: mark }).split(mark);
  return [part(open.trimEnd(), weights.form)];
}

/** " red star (57, 83)" for each thing. */
export function think(things: readonly Thing[], weights: ChatWeights): TextPart[] {
  return things.flatMap((thing) => nameParts(thing, weights));
}

/** The colour, drawn by chance; the shape and the place, to be found. */
export function nameParts(thing: Thing, weights: ChatWeights): TextPart[] {
  const [colour, shape] = thing.name.split(" ");
  const place = lookThought([{ name: "", place: point("resized", thing.x, thing.y) }]);
  return [
    part(` ${colour}`, weights.chance),
    part(` ${shape}`, 1),
    ...digitsApart(place, weights.form),
  ];
}

/** Digits with weight 1, all else with `weight`. */
export function digitsApart(text: string, weight: number): TextPart[] {
  return text
    .split(/(\d)/)
    .filter((piece) => piece !== "")
    .map((piece) => part(piece, /\d/.test(piece) ? 1 : weight));
}

export function part(text: string, weight: number): TextPart {
  return { type: "text", text, weight };
}

/** What is said, and not learned. */
export function silent(parts: readonly TextPart[]): TextPart[] {
  return parts.map((said) => ({ ...said, weight: 0 }));
}

/** A turn that thinks and zooms to a thing. */
export function lookTurn(
  thought: readonly TextPart[],
  { x, y }: Thing,
  weights: ChatWeights,
): TextPart[] {
  const call = { name: "search_coordinate", args: { coordinate: [x, y] } };
  // The grammar writes the turn; the thought is put in its place with weights of its own.
  const [, callText] = formatTurn({ think: mark, toolCall: call }).split(mark);
  return [...opening(weights), ...thought, ...digitsApart(callText, weights.form)];
}

/** The end of a turn that zoomed, the crop that came back, and the beginning of the next turn. */
export function observation(crop: CropIndex): ChatPart[] {
  return [
    part("\n<|im_start|>user\n<observation>\n<|vision_start|>", 0),
    { type: "image", which: crop },
    part("<|vision_end|>\n</observation><|im_end|>\n<|im_start|>assistant\n", 0),
  ];
}

/** " it is 7", " it says heart"; where a digit is wanted, " it is 3 not 7" */
export function reading(of: Mark, weights: ChatWeights, wanted?: number): TextPart[] {
  const said = ` ${markThought(of)}`;
  const verdict = ` ${markThought(of, wanted)}`.slice(said.length);
  const judged = verdict === "" ? [] : [part(verdict, 1)];
  if (typeof of === "number") return [...digitsApart(said, weights.form), ...judged];
  const at = said.lastIndexOf(" ");
  return [part(said.slice(0, at), weights.form), part(said.slice(at), 1), ...judged];
}
