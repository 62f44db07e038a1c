/**
 * What a model does while it looks, counted by rules in a single episode: where it looks and how often,
 * whether it says where to look next, looks a second time, takes something back, gives up. Words are told
 * by English phrases (`text/phrases.ts`), places by their distance. Pure and cheap, so that training can
 * count its own episodes. A model that judges the same is in `eval/behaviours/`.
 *
 * Frame: places are on the record's images as the model sees them.
 */
import type { Size } from "../image/frames.ts";
import { announces, confirms, givesUp, namedRegions, takesBack } from "../text/phrases.ts";
import { countDistinct, isNear } from "../text/points.ts";
import type { ToolUseLine } from "./lines.ts";
import { cropOverlap, type PictureLine, type RecordPlace } from "./pictures.ts";
import { countUses } from "./trajectory.ts";
import { thoughtSentences, type PointView, type ThoughtSentence } from "./sentences.ts";

/** What is counted, and in which words a table says so. */
export const behaviourTable = {
  looks: "tool calls that were carried out",
  places: "distinct places looked at by a tool or named in a thought",
  regions: "places far apart, and parts of the picture named in words",
  subgoals: "sentences that say where to look next and name the place",
  verification: "sentences that confirm something seen, and second looks at a place",
  backtracking: "sentences that take something back",
  gaveUp: 'answers such as "none"',
  outside: "points named outside of the picture",
  cropOverlap: "what two crops share, as a part of the smaller one",
} as const;
export type BehaviourName = keyof typeof behaviourTable;
export const behaviourNames = Object.keys(behaviourTable) as BehaviourName[];

export interface BehaviourRules {
  /** Places nearer than this count as one. */
  readonly minDistancePx: number;
  /** Regions are this far apart, as a part of the picture's longer side. */
  readonly regionShare: number;
  /** Sentences that take something back, besides those that are known: the recipe's own. */
  readonly corrections: readonly string[];
}

export const defaultBehaviourRules: BehaviourRules = {
  minDistancePx: 10,
  regionShare: 0.1,
  corrections: [],
};

/** What is counted of: an episode, its trace, or a chain. */
export interface Observed {
  readonly turns: readonly { readonly text: string }[];
  readonly answer: string | null;
  /** Null where nothing is known of the pictures: then no place counts. */
  readonly view: PointView | null;
  readonly pictures: readonly PictureLine[];
  readonly toolUses: readonly Pick<ToolUseLine, "turn" | "at" | "fault">[];
}

/** Null: cannot be told of this episode. `cropOverlap` is in [0, 1] and needs two crops. */
export type BehaviourCounts = Readonly<Record<BehaviourName, number | null>>;

/** What was said that counted, for readers. */
export interface BehaviourQuote {
  readonly behaviour: BehaviourName;
  readonly turn: number;
  /** The sentence; of a look without one, what was done. */
  readonly text: string;
}

export interface Behaviours {
  readonly counts: BehaviourCounts;
  readonly quotes: readonly BehaviourQuote[];
}

/** Counts an episode. Never throws, whatever the model wrote. */
export function behavioursOf(
  episode: Observed,
  rules: BehaviourRules = defaultBehaviourRules,
): Behaviours {
  const sentences = thoughtSentences(episode.turns, episode.view);
  const looks = episode.toolUses.filter(({ fault }) => fault === null);
  const visits = visitsOf(sentences, looks);
  const places = visits.map(({ place }) => place);
  const quotes = [
    ...subgoals(sentences, looks, rules),
    ...verifications(sentences, visits, rules),
    ...sentences
      .filter(({ text }) => takesBack(text, rules.corrections))
      .map(quote("backtracking")),
  ];
  const numOf = (name: BehaviourName) =>
    quotes.filter(({ behaviour }) => behaviour === name).length;
  const outside = sentences.flatMap(({ points }) => points.filter(({ inImage }) => !inImage));
  const counts = {
    looks: countUses(episode),
    places: countDistinct(places, rules.minDistancePx),
    regions: regions(places, sentences, episode, rules),
    subgoals: numOf("subgoals"),
    verification: numOf("verification"),
    backtracking: numOf("backtracking"),
    gaveUp: episode.answer !== null && givesUp(episode.answer) ? 1 : 0,
    outside: outside.length,
    cropOverlap: cropOverlap(episode.pictures),
  };
  return { counts, quotes };
}

/** A place in the order in which it was named or looked at. */
interface Visit {
  readonly place: RecordPlace;
  readonly turn: number;
  /** The sentence that names it; null where a tool looks at it. */
  readonly sentence: ThoughtSentence | null;
}

/** Places in the picture, in order: those of a turn's sentences, then what its tool looks at. */
function visitsOf(sentences: readonly ThoughtSentence[], looks: Observed["toolUses"]): Visit[] {
  const named = sentences.flatMap((sentence) =>
    insideOf(sentence).map((place) => ({ place, turn: sentence.turn, sentence })),
  );
  const looked = looks.flatMap(({ at, turn }) =>
    at === null ? [] : [{ place: at, turn, sentence: null }],
  );
  return [...named, ...looked].sort((a, b) => a.turn - b.turn);
}

function insideOf({ points }: ThoughtSentence): RecordPlace[] {
  return points.flatMap(({ x, y, inImage }) => (inImage ? [{ picture: 0, x, y }] : []));
}

/** Sentences that name the place and announce the look, or whose place the turn's tool looks at. */
function subgoals(
  sentences: readonly ThoughtSentence[],
  looks: Observed["toolUses"],
  { minDistancePx }: BehaviourRules,
): BehaviourQuote[] {
  return sentences
    .filter((sentence) => {
      const places = insideOf(sentence);
      if (places.length === 0) return false;
      if (announces(sentence.text)) return true;
      return looks.some(
        ({ at, turn }) =>
          at !== null &&
          turn === sentence.turn &&
          places.some((place) => isNear(place, at, minDistancePx)),
      );
    })
    .map(quote("subgoals"));
}

/**
 * Sentences that confirm, and second looks: a tool at a place where one has looked before, or a sentence
 * that comes back to a place that was left for others. One that is announced by such a sentence is one.
 */
function verifications(
  sentences: readonly ThoughtSentence[],
  visits: readonly Visit[],
  { minDistancePx }: BehaviourRules,
): BehaviourQuote[] {
  const near = (a: RecordPlace, b: RecordPlace) => isNear(a, b, minDistancePx);
  const counted = new Set(sentences.filter(({ text }) => confirms(text)));
  visits.forEach(({ place, sentence }, i) => {
    if (sentence === null) return;
    const last = lastBefore(i, visits, (visit) => near(visit.place, place));
    const isOther = (at: number) => at >= 0 && visits[at].sentence !== sentence;
    if (isOther(last) && last + 1 < i && isOther(last + 1)) counted.add(sentence);
  });
  const again = visits.filter(({ place, turn, sentence }, i) => {
    if (sentence !== null) return false;
    const isTool = (visit: Visit) => visit.sentence === null;
    const first = lastBefore(i, visits, (visit) => isTool(visit) && near(visit.place, place));
    const isSaid = (one: ThoughtSentence) =>
      one.turn === turn && insideOf(one).some((named) => near(named, place));
    return first >= 0 && ![...counted].some(isSaid);
  });
  const unsaid = again.map(({ turn }): BehaviourQuote => ({
    behaviour: "verification",
    turn,
    text: secondLook,
  }));
  const said = [...counted].map(quote("verification"));
  return [...said, ...unsaid].sort((a, b) => a.turn - b.turn);
}

const secondLook = "(looks there a second time)";

function lastBefore(end: number, visits: readonly Visit[], is: (visit: Visit) => boolean): number {
  for (let at = end - 1; at >= 0; at--) if (is(visits[at])) return at;
  return -1;
}

/** Null where the picture's size is not known. */
function regions(
  places: readonly RecordPlace[],
  sentences: readonly ThoughtSentence[],
  { view }: Observed,
  { regionShare }: BehaviourRules,
): number | null {
  const named = sentences.filter(({ points }) => points.length === 0);
  const words = new Set(named.flatMap(({ text }) => namedRegions(text))).size;
  if (places.length === 0) return words;
  const side = view === null ? Infinity : longerSide(view.resized);
  return Number.isFinite(side) ? words + countDistinct(places, regionShare * side) : null;
}

function longerSide({ widthPx, heightPx }: Size): number {
  return Math.max(widthPx, heightPx);
}

function quote(behaviour: BehaviourName) {
  return ({ turn, text }: ThoughtSentence): BehaviourQuote => ({ behaviour, turn, text });
}
