/**
 * Conversations about sights, as base training shows them. They teach to name a thing and then its
 * place, to zoom there, to read a crop and to answer in form; plain look-ups are answered as asked.
 * Where to look they hardly teach: what a search, click or relation looks at is drawn by chance, but for
 * a share (`questionConditioned`) of the last step that looks at what the question names. What follows from the places
 * they do teach: a relation is always true of the two things that were looked at. The rest is left to
 * search, SFT and reinforcement learning.
 */
import type { Rng } from "../core/random.ts";
import { point } from "../image/frames.ts";
import { formatTurn } from "../text/grammar.ts";
import { formatPoint } from "../text/points.ts";
import {
  clickQuestion,
  digitQuestion,
  digitThought,
  lookThought,
  noToolSuffix,
  placeQuestion,
  relationBetween,
  relationQuestion,
  searchQuestion,
  thingQuestion,
} from "./language.ts";
import type { Sight, Thing } from "./sights.ts";
import { colourNames, relations, shapeNames } from "./world.ts";

/** What a conversation is about; `mix` weighs them by these names. */
export const chatKinds = [
  "list",
  "search",
  "searchUnaided",
  "relation",
  "click",
  "place",
  "thing",
  "digit",
  "compare",
] as const;
export type ChatKind = (typeof chatKinds)[number];

/** A stretch of a conversation. `weight` is its share in the loss, 0 for what others write. */
export type ChatPart =
  | { readonly type: "text"; readonly text: string; readonly weight: number }
  | { readonly type: "image"; readonly which: "view" | "crop" };

/** Weights of names that are a matter of chance, and of fixed forms that are learned at once. */
export interface ChatWeights {
  readonly chance: number;
  readonly form: number;
  /** Share of searches, relations and clicks that look at what the question names. Default 0. */
  readonly questionConditioned?: number;
}

/** What a conversation must know of a sight; its images are put in later. */
export type Scenery = Omit<Sight, "view" | "crop">;

/** Makes one conversation of a kind. */
export function makeChat(
  kind: ChatKind,
  sight: Scenery,
  rng: Rng,
  weights: ChatWeights,
): ChatPart[] {
  const things = rng.shuffle(sight.things);
  const [named] = things;
  const isConditioned =
    weights.questionConditioned !== undefined && rng.chance(weights.questionConditioned);
  const asked = isConditioned && kind === "search" ? sight.things[sight.looked] : named;
  const looked = isConditioned ? asked : rng.pick(sight.things);
  const view = { type: "image", which: "view" } as const;
  switch (kind) {
    case "list":
      return ask([view], "", reply(think(things, weights), "", weights));
    case "search":
      return searchChat(asked, sight, weights);
    case "searchUnaided": {
      const question = `${searchQuestion(asked.name)}\n${noToolSuffix}`;
      const guess = part(` ${rng.int(0, 9)}`, weights.chance);
      return ask([view], question, reply(think([looked], weights), [guess], weights));
    }
    case "relation": {
      const pair = clearPair(sight.things, rng);
      return relationChat(
        [view],
        pair,
        isConditioned ? pair : clearPair(sight.things, rng),
        weights,
      );
    }
    case "compare":
      return [0, 1].flatMap(() => {
        const pair = clearPair(anywhere(rng), rng);
        return answerAlone(relationChat([], pair, pair, weights));
      });
    case "click": {
      const answer = [part(` ${placeText(looked)}`, 1)];
      const turn = reply(think([looked], weights), answer, weights);
      return ask([view], clickQuestion(asked.name), turn);
    }
    case "place":
      return ask([view], placeQuestion(asked.name), [part(placeText(asked), 1)]);
    case "thing":
      return ask([view], thingQuestion(point("resized", asked.x, asked.y)), [part(asked.name, 1)]);
    case "digit": {
      const { digit } = sight.things[sight.looked];
      return ask([{ type: "image", which: "crop" }], digitQuestion, [part(String(digit), 1)]);
    }
  }
}

type TextPart = Extract<ChatPart, { type: "text" }>;
type ImagePart = Extract<ChatPart, { type: "image" }>;

function searchChat(asked: Thing, sight: Scenery, weights: ChatWeights): ChatPart[] {
  const looked = sight.things[sight.looked];
  const call = { name: "search_coordinate", args: { coordinate: [looked.x, looked.y] } };
  // The grammar writes both turns; the thought is put in its place with weights of its own.
  const [, callText] = formatTurn({ think: mark, toolCall: call }).split(mark);
  const answerText = formatTurn({ think: digitThought(looked.digit), answer: `${looked.digit}` });
  return [
    ...ask([{ type: "image", which: "view" }], searchQuestion(asked.name), [
      ...opening(weights),
      ...think([looked], weights),
      ...digitsApart(callText, weights.form),
    ]),
    part("\n<|im_start|>user\n<observation>\n<|vision_start|>", 0),
    { type: "image", which: "crop" },
    part("<|vision_end|>\n</observation><|im_end|>\n<|im_start|>assistant\n", 0),
    ...digitsApart(answerText, weights.form),
    part("<|im_end|>", weights.form),
  ];
}

const mark = "@";

/** Where one thing is seen from another; what is learned is true of the two that are looked at. */
function relationChat(
  images: readonly ImagePart[],
  [named, other]: Pair,
  looked: Pair,
  weights: ChatWeights,
): ChatPart[] {
  const relation = relationBetween(looked[1], looked[0]);
  const answer = part(` ${relation ?? relations[0]}`, relation === null ? 0 : 1);
  const question = relationQuestion(named.name, other.name);
  return ask(images, question, reply(think(looked, weights), [answer], weights));
}

type Pair = readonly [Thing, Thing];

/** Two things of which one lies clearly to a side of the other, where the scene has such. */
function clearPair(things: readonly Thing[], rng: Rng): Pair {
  const shuffled = rng.shuffle(things);
  for (const first of shuffled)
    for (const second of shuffled)
      if (first !== second && relationBetween(second, first) !== null) return [first, second];
  return [shuffled[0], shuffled[1]];
}

/** Eight things out of sight, for words about places alone. */
function anywhere(rng: Rng): Thing[] {
  return Array.from({ length: 8 }, () => ({
    name: `${rng.pick(colourNames)} ${rng.pick(shapeNames)}`,
    x: rng.int(10, 99),
    y: rng.int(10, 99),
    digit: 0,
  }));
}

/** Only the relation is to be learned; all before it is given. */
function answerAlone(parts: readonly ChatPart[]): ChatPart[] {
  const isAnswer = ({ text }: TextPart) => relations.some((relation) => text === ` ${relation}`);
  return parts.map((said) =>
    said.type === "text" && !isAnswer(said) ? { ...said, weight: 0 } : said,
  );
}

/** A user message with images before its text, then an assistant message with its end. */
function ask(images: readonly ImagePart[], question: string, answer: readonly TextPart[]) {
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
function reply(
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

function opening(weights: ChatWeights): TextPart[] {
  const [open] = formatTurn({ think: mark, answer: mark }).split(mark);
  return [part(open.trimEnd(), weights.form)];
}

/** " red star (57, 83)" for each thing. */
function think(things: readonly Thing[], weights: ChatWeights): TextPart[] {
  return things.flatMap((thing) => nameParts(thing, weights));
}

/** The colour, drawn by chance; the shape and the place, to be found. */
function nameParts(thing: Thing, weights: ChatWeights): TextPart[] {
  const [colour, shape] = thing.name.split(" ");
  const place = lookThought([{ name: "", place: point("resized", thing.x, thing.y) }]);
  return [
    part(` ${colour}`, weights.chance),
    part(` ${shape}`, 1),
    ...digitsApart(place, weights.form),
  ];
}

/** Digits with weight 1, all else with `weight`. */
function digitsApart(text: string, weight: number): TextPart[] {
  return text
    .split(/(\d)/)
    .filter((piece) => piece !== "")
    .map((piece) => part(piece, /\d/.test(piece) ? 1 : weight));
}

function placeText(thing: Thing): string {
  return formatPoint(thing);
}

function part(text: string, weight: number): TextPart {
  return { type: "text", text, weight };
}
