/**
 * Conversations that look several times. By default they wander: which things are looked at, how often
 * and in which order is drawn by chance; now and then one looks twice at a thing, or names a wrong one
 * and takes it back. What was seen is told truly, and the answer follows from what was seen. So the form
 * of looking again, going back and giving up is there, and the habit of it is not. Only a conversation
 * that attends looks where its question needs it.
 */
import type { Rng } from "../core/random.ts";
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
  type TextPart,
} from "./chat-parts.ts";
import type { Scenery } from "./chats.ts";
import {
  chaseQuestion,
  compareQuestion,
  correction,
  findQuestion,
  noneAnswer,
} from "./language.ts";
import type { Thing } from "./sights.ts";

/** seek: a find that says of each mark whether it is the digit that is wanted. */
export const tourKinds = ["find", "seek", "compare", "chase"] as const;
export type TourKind = (typeof tourKinds)[number];

/** A question, the looks in their order, and what they lead to. */
interface Tour {
  readonly question: string;
  readonly route: readonly CropIndex[];
  readonly answer: TextPart;
  /** The digit that is looked for, where one is. */
  readonly wanted?: number;
}

/** Share of looks that repeat an earlier one, and of looks before which a wrong thing is named. */
const repeatShare = 0.1;
const slipShare = 0.08;

export function tourChat(
  kind: TourKind,
  sight: Scenery,
  rng: Rng,
  weights: ChatWeights,
  attends: boolean,
): ChatPart[] {
  const plan = (attends ? attentive[kind](sight, rng) : null) ?? wander(kind, sight, rng, weights);
  const { question, route, answer } = plan;
  const wanted = kind === "seek" ? plan.wanted : undefined;
  const at = (look: CropIndex) => sight.things[sight.looks[look]];
  const goTo = (next: Thing): TextPart[] =>
    rng.chance(slipShare)
      ? [
          // A mistake is shown, not learned; what follows it is.
          ...silent(think([rng.pick(sight.things)], weights)),
          part(` ${correction}`, 0),
          ...think([next], weights),
        ]
      : think([next], weights);
  const first = at(route[0]);
  return [
    ...ask([view], question, lookTurn(goTo(first), first, weights)),
    ...route.flatMap((look, i): ChatPart[] => {
      const seen = reading(at(look).mark, weights, wanted);
      const next = i + 1 < route.length ? at(route[i + 1]) : null;
      return [
        ...observation(look),
        ...(next === null
          ? reply(seen, [answer], weights)
          : lookTurn([...seen, ...goTo(next)], next, weights)),
        part("<|im_end|>", weights.form),
      ];
    }),
  ];
}

/** One look to four, each at a thing by chance. */
function wander(kind: TourKind, sight: Scenery, rng: Rng, { chance }: ChatWeights): Tour {
  const route: CropIndex[] = [];
  const left = rng.shuffle(sight.looks.map((_, look) => look));
  const count = 1 + [0.4, 0.7, 0.9].filter((share) => rng.float() > share).length;
  while (route.length < count && left.length > 0)
    route.push(route.length > 0 && rng.chance(repeatShare) ? rng.pick(route) : (left.pop() ?? 0));
  const seen = route.map((look) => sight.things[sight.looks[look]]);
  const [one, other] = rng.shuffle(sight.things);
  switch (kind) {
    case "find":
    case "seek": {
      const digit = rng.chance(0.75) ? anyDigit(sight.things, rng) : rng.int(0, 9);
      const found = seen.find(({ mark }) => mark === digit);
      return findTour(digit, route, found, found === undefined ? chance : 1);
    }
    case "compare": {
      const answer = part(` ${greatest(seen).name}`, 1);
      return { question: compareQuestion(one.name, other.name), route, answer };
    }
    case "chase": {
      const last = seen.findLast(({ mark }) => typeof mark === "number");
      const answer = part(` ${last?.mark ?? rng.int(0, 9)}`, last === undefined ? chance : 1);
      return { question: chaseQuestion(one.name), route, answer };
    }
  }
}

/** What a perfect player does, where the sight's looks allow it; else null. */
const attentive: Readonly<Record<TourKind, (sight: Scenery, rng: Rng) => Tour | null>> = {
  find: findAttentively,
  seek: findAttentively,
  /** The two that are named, in the order of the question. */
  compare({ things, looks }, rng) {
    const ready = rng.shuffle(looks.flatMap((look, crop) => (isDigit(things[look]) ? [crop] : [])));
    if (ready.length < 2) return null;
    const [one, other] = ready.map((crop) => things[looks[crop]]);
    if (one.mark === other.mark) return null;
    const answer = part(` ${greatest([one, other]).name}`, 1);
    return { question: compareQuestion(one.name, other.name), route: ready.slice(0, 2), answer };
  },
  /** From sign to sign, until there is a digit. */
  chase({ things, looks, isTrail }) {
    if (!isTrail) return null;
    const answer = part(` ${things[looks[looks.length - 1]].mark}`, 1);
    const route = looks.map((_, look) => look);
    return { question: chaseQuestion(things[looks[0]].name), route, answer };
  },
};

/** Thing after thing until the digit is found, or all have been looked at. */
function findAttentively({ things, looks }: Scenery, rng: Rng): Tour {
  const all = looks.map((_, look) => look);
  const marks = looks.map((look) => things[look].mark);
  const absent = digits.filter((digit) => things.every(({ mark }) => mark !== digit));
  if (looks.length === things.length && rng.chance(0.3)) return findTour(rng.pick(absent), all);
  const wanted = rng.pick(marks.filter((mark) => typeof mark === "number"));
  const at = marks.indexOf(wanted);
  return findTour(wanted, all.slice(0, at + 1), things[looks[at]]);
}

/** A tour in which a digit is found on a thing, or nowhere. */
function findTour(wanted: number, route: readonly CropIndex[], found?: Thing, weight = 1): Tour {
  const answer = part(` ${found?.name ?? noneAnswer}`, weight);
  return { question: findQuestion(wanted), route, answer, wanted };
}

const digits = Array.from({ length: 10 }, (_, digit) => digit);

function isDigit({ mark }: Thing): boolean {
  return typeof mark === "number";
}

function anyDigit(things: readonly Thing[], rng: Rng): number {
  return rng.pick(things.flatMap(({ mark }) => (typeof mark === "number" ? [mark] : [])));
}

/** The thing with the greatest digit, or the first where none carries one. */
function greatest(things: readonly Thing[]): Thing {
  const value = ({ mark }: Thing) => (typeof mark === "number" ? mark : -1);
  return things.reduce((best, thing) => (value(thing) > value(best) ? thing : best));
}
