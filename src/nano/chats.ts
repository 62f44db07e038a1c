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
import { formatPoint } from "../text/points.ts";
import {
  ask,
  lookTurn,
  observation,
  part,
  reading,
  reply,
  silent,
  think,
  view,
  type ChatPart,
  type ChatWeights,
  type CropIndex,
  type ImagePart,
  type TextPart,
} from "./chat-parts.ts";
import {
  clickQuestion,
  digitQuestion,
  findQuestion,
  noToolSuffix,
  placeQuestion,
  relationBetween,
  relationQuestion,
  searchQuestion,
  shapeQuestion,
  signQuestion,
  thingQuestion,
} from "./language.ts";
import type { Sight, Thing } from "./sights.ts";
import { tourKinds, tourChat } from "./tours.ts";
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
  "shape",
  "shapes",
  "digit",
  "sign",
  "sides",
  "verdicts",
  ...tourKinds,
] as const;
export type ChatKind = (typeof chatKinds)[number];

/** What a conversation must know of a sight; its images are put in later. */
export type Scenery = Omit<Sight, "view" | "crops">;

/** Makes one conversation of a kind. */
export function makeChat(
  kind: ChatKind,
  sight: Scenery,
  rng: Rng,
  weights: ChatWeights,
): ChatPart[] {
  const things = rng.shuffle(sight.things);
  const [named] = things;
  const share = isTour(kind) ? weights.toursConditioned : weights.questionConditioned;
  const isConditioned = share !== undefined && rng.chance(share);
  const asked = isConditioned && kind === "search" ? lookAt(sight, isDigit).thing : named;
  const looked = isConditioned ? asked : rng.pick(sight.things);
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
    case "sides":
      return [0, 1].flatMap(() => {
        const pair = clearPair(anywhere(rng), rng);
        return answerAlone(relationChat([], pair, pair, weights));
      });
    case "verdicts":
      return verdictChat(rng);
    case "click": {
      const answer = [part(` ${placeText(looked)}`, 1)];
      const turn = reply(think([looked], weights), answer, weights);
      return ask([view], clickQuestion(asked.name), turn);
    }
    case "place":
      return ask([view], placeQuestion(asked.name), [part(placeText(asked), 1)]);
    case "thing":
      return ask([view], thingQuestion(point("resized", asked.x, asked.y)), [part(asked.name, 1)]);
    case "shape": {
      const alone = things.find((thing) => hasOwnShape(thing, things));
      if (alone === undefined) return makeChat("place", sight, rng, weights);
      return shapeChat([view], alone);
    }
    case "shapes": {
      const alone = things.filter((thing) => hasOwnShape(thing, things));
      if (alone.length === 0) return makeChat("place", sight, rng, weights);
      return alone.flatMap((thing, i) => shapeChat(i === 0 ? [view] : [], thing));
    }
    case "digit":
      return cropChat(digitQuestion, lookAt(sight, isDigit));
    case "sign":
      return suits(kind, sight)
        ? cropChat(signQuestion, lookAt(sight, isSign))
        : makeChat("digit", sight, rng, weights);
    default:
      return tourChat(kind, sight, rng, weights, isConditioned);
  }
}

function isTour(kind: ChatKind): boolean {
  return (tourKinds as readonly ChatKind[]).includes(kind);
}

/** Whether a sight has what a kind of conversation is about; another kind stands in where it has not. */
export function suits(kind: ChatKind, { things, looks }: Scenery): boolean {
  if (kind === "sign") return looks.some((look) => isSign(things[look]));
  return (
    (kind !== "shape" && kind !== "shapes") || things.some((thing) => hasOwnShape(thing, things))
  );
}

function shapeChat(images: readonly ImagePart[], thing: Thing): ChatPart[] {
  const answer = [part(`${thing.name} ${placeText(thing)}`, 1)];
  return ask(images, shapeQuestion(shapeOf(thing.name)), answer);
}

interface Look {
  readonly thing: Thing;
  readonly crop: CropIndex;
}

/** The first look of a sight at such a thing. */
function lookAt({ things, looks }: Scenery, isWanted: (thing: Thing) => boolean): Look {
  const crop = looks.findIndex((look) => isWanted(things[look]));
  if (crop < 0) throw new Error("no look at such a thing");
  return { thing: things[looks[crop]], crop };
}

function isDigit({ mark }: Thing): boolean {
  return typeof mark === "number";
}

function isSign(thing: Thing): boolean {
  return !isDigit(thing);
}

function shapeOf(name: string): (typeof shapeNames)[number] {
  const shape = shapeNames.find((word) => name.endsWith(word));
  if (shape === undefined) throw new Error(`${name} has no shape`);
  return shape;
}

function hasOwnShape({ name }: Thing, things: readonly Thing[]): boolean {
  const shape = shapeOf(name);
  return things.filter((thing) => thing.name.endsWith(shape)).length === 1;
}

function cropChat(question: string, { thing, crop }: Look): ChatPart[] {
  return ask([{ type: "image", which: crop }], question, [part(String(thing.mark), 1)]);
}

function searchChat(asked: Thing, sight: Scenery, weights: ChatWeights): ChatPart[] {
  const { thing, crop } = lookAt(sight, isDigit);
  return [
    ...ask([view], searchQuestion(asked.name), lookTurn(think([thing], weights), thing, weights)),
    ...observation(crop),
    ...reply(reading(thing.mark, weights), [part(` ${thing.mark}`, 1)], weights),
    part("<|im_end|>", weights.form),
  ];
}

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

/**
 * Whether a digit is the one that is wanted, again and again: what a seek says, without its pictures.
 * Only the verdicts are learned: "not", or the next name in its place.
 */
function verdictChat(rng: Rng): ChatPart[] {
  const wanted = rng.int(0, 9);
  const weights = { chance: 1, form: 1 };
  let isFound = false;
  const said = anywhere(rng).flatMap((thing) => {
    const [colour, ...place] = think([thing], weights);
    const mark = rng.chance(0.5) ? wanted : rng.int(0, 9);
    const parts = [
      { ...colour, weight: isFound ? 1 : 0 },
      ...silent([...place, ...reading(mark, weights)]),
      ...(mark === wanted ? [] : [part(` not ${wanted}`, 1)]),
    ];
    isFound = mark === wanted;
    return parts;
  });
  return ask([], findQuestion(wanted), reply(said, "", { chance: 0, form: 1 }));
}

/** Eight things out of sight, for words about places alone. */
function anywhere(rng: Rng): Thing[] {
  return Array.from({ length: 8 }, () => ({
    name: `${rng.pick(colourNames)} ${rng.pick(shapeNames)}`,
    x: rng.int(10, 99),
    y: rng.int(10, 99),
    mark: 0,
  }));
}

/** Only the relation is to be learned; all before it is given. */
function answerAlone(parts: readonly ChatPart[]): ChatPart[] {
  const isAnswer = ({ text }: TextPart) => relations.some((relation) => text === ` ${relation}`);
  return parts.map((said) =>
    said.type === "text" && !isAnswer(said) ? { ...said, weight: 0 } : said,
  );
}

function placeText(thing: Thing): string {
  return formatPoint(thing);
}
