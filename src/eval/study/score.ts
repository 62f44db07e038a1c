/**
 * What ratings come to (paper §5.4, A7). Each person counts once, with the mean of their own ratings, and
 * intervals are over persons: persons are drawn, not ratings, which of one person go together. Ratings
 * with "unsure" count neither for accuracy nor for helpfulness.
 */
import { krippendorffAlpha } from "../../core/agreement.ts";
import { groupBy } from "../../core/round-robin.ts";
import { bootstrapDifference, bootstrapMean, mean, type Interval } from "../../core/statistics.ts";
import type { KeyedRating } from "./ratings.ts";

/** A mean over persons. */
export interface PersonFigure {
  readonly mean: number;
  /** 95 %, by bootstrap over persons; null for one alone. */
  readonly ci95: Interval | null;
  readonly persons: number;
  readonly ratings: number;
}

/** Between two kinds of items, each person with themselves. */
export interface PersonDifference {
  readonly difference: number;
  readonly ci95: Interval | null;
  readonly persons: number;
}

export interface StudyFigures {
  /** Share of "yes" among "yes" and "no". */
  readonly accuracy: PersonFigure | null;
  readonly unsure: number;
  /** 1 to 5, in all, and where the same person found the point right or wrong. */
  readonly helpfulness: PersonFigure | null;
  readonly helpfulnessRight: PersonFigure | null;
  readonly helpfulnessWrong: PersonFigure | null;
  readonly clarityMarked: PersonFigure | null;
  readonly clarityMasked: PersonFigure | null;
  /** Marked − masked. */
  readonly clarityGained: PersonDifference | null;
}

/** Krippendorff's α over items; null where it is not defined. */
export interface StudyAgreement {
  /** Yes or no; "unsure" is missing. */
  readonly accuracyNominal: number | null;
  readonly helpfulnessOrdinal: number | null;
  readonly helpfulnessInterval: number | null;
  readonly clarityOrdinal: number | null;
}

export interface GroupScore extends StudyFigures {
  readonly group: string;
}

export interface StudyScore {
  readonly version: 1;
  readonly seed: number;
  readonly persons: number;
  readonly ratings: number;
  /** Items that were rated at all, and those rated more than once. */
  readonly items: number;
  readonly itemsTwice: number;
  readonly all: StudyFigures;
  readonly agreement: StudyAgreement;
  /** By the group that a sentence came from, and by whether its trace answered right; where there are several. */
  readonly groups: readonly GroupScore[];
  readonly answers: readonly GroupScore[];
  /** What each item got. */
  readonly perItem: readonly ItemScore[];
}

export interface ItemScore {
  readonly id: string;
  readonly yes: number;
  readonly no: number;
  readonly unsure: number;
  readonly helpfulness: number | null;
  readonly clarity: number | null;
}

/** Scores all ratings. @param seed of the bootstrap */
export function scoreStudy(ratings: readonly KeyedRating[], seed: number): StudyScore {
  const byItem = groupBy(ratings, ({ item }) => item);
  const answerOf = ({ key: { isRight } }: KeyedRating) =>
    isRight === null ? "not judged" : isRight ? "right answers" : "wrong answers";
  const scored = (group: string, own: readonly KeyedRating[]) => ({
    group,
    ...figuresOf(own, seed),
  });
  const split = (of: (rating: KeyedRating) => string) => {
    const groups = [...groupBy(ratings, of)].sort(([a], [b]) => (a < b ? -1 : 1));
    return groups.length < 2 ? [] : groups.map(([name, own]) => scored(name, own));
  };
  return {
    version: 1,
    seed,
    persons: new Set(ratings.map(({ participant }) => participant)).size,
    ratings: ratings.length,
    items: byItem.size,
    itemsTwice: [...byItem.values()].filter((own) => own.length > 1).length,
    all: figuresOf(ratings, seed),
    agreement: agreementOf([...byItem.values()]),
    groups: split(({ key }) => `${key.task} ${key.group}`),
    answers: split(answerOf),
    perItem: [...byItem].map(([id, own]) => itemScore(id, own)),
  };
}

/** Value of a rating, null where it does not count. */
type Value = (rating: KeyedRating) => number | null;

const accuracy: Value = ({ accuracy: said }) =>
  said === undefined || said === "unsure" ? null : said === "yes" ? 1 : 0;
const helpfulness: Value = ({ accuracy: said, helpfulness: value }) =>
  said === "unsure" ? null : (value ?? null);
const clarity: Value = ({ clarity: value }) => value ?? null;

function figuresOf(ratings: readonly KeyedRating[], seed: number): StudyFigures {
  const figure = (of: Value, own = ratings) => personFigure(own, of, seed);
  const said = (word: string) => ratings.filter((rating) => rating.accuracy === word);
  const shown = (word: string) => ratings.filter(({ key }) => key.condition === word);
  return {
    accuracy: figure(accuracy),
    unsure: said("unsure").length,
    helpfulness: figure(helpfulness),
    helpfulnessRight: figure(helpfulness, said("yes")),
    helpfulnessWrong: figure(helpfulness, said("no")),
    clarityMarked: figure(clarity, shown("marked")),
    clarityMasked: figure(clarity, shown("masked")),
    clarityGained: personDifference(shown("marked"), shown("masked"), clarity, seed),
  };
}

function personFigure(
  ratings: readonly KeyedRating[],
  of: Value,
  seed: number,
): PersonFigure | null {
  const persons = perPerson(ratings, of);
  if (persons.size === 0) return null;
  const { mean: middle, interval } = bootstrapMean([...persons.values()], { seed });
  return {
    mean: middle,
    ci95: persons.size > 1 ? interval : null,
    persons: persons.size,
    ratings: ratings.filter((rating) => of(rating) !== null).length,
  };
}

function personDifference(
  ours: readonly KeyedRating[],
  theirs: readonly KeyedRating[],
  of: Value,
  seed: number,
): PersonDifference | null {
  const [a, b] = [perPerson(ours, of), perPerson(theirs, of)];
  const both = [...a.keys()].filter((person) => b.has(person));
  if (both.length === 0) return null;
  const valuesOf = (values: ReadonlyMap<string, number>) =>
    both.map((person) => values.get(person)!);
  const { difference, interval } = bootstrapDifference(valuesOf(a), valuesOf(b), { seed });
  return { difference, ci95: both.length > 1 ? interval : null, persons: both.length };
}

/** The mean of each person's ratings, of those that count; persons in the order of their names. */
function perPerson(ratings: readonly KeyedRating[], of: Value): Map<string, number> {
  const counting = ratings.filter((rating) => of(rating) !== null);
  const byPerson = [...groupBy(counting, ({ participant }) => participant)];
  byPerson.sort(([a], [b]) => (a < b ? -1 : 1));
  return new Map(
    byPerson.map(([person, own]) => [person, mean(own.map((rating) => of(rating) ?? 0))]),
  );
}

function agreementOf(items: readonly (readonly KeyedRating[])[]): StudyAgreement {
  const units = (of: Value) => items.map((own) => own.flatMap((rating) => of(rating) ?? []));
  return {
    accuracyNominal: krippendorffAlpha(units(accuracy), "nominal"),
    helpfulnessOrdinal: krippendorffAlpha(units(helpfulness), "ordinal"),
    helpfulnessInterval: krippendorffAlpha(units(helpfulness), "interval"),
    clarityOrdinal: krippendorffAlpha(units(clarity), "ordinal"),
  };
}

function itemScore(id: string, own: readonly KeyedRating[]): ItemScore {
  const count = (word: string) => own.filter((rating) => rating.accuracy === word).length;
  const middle = (of: Value) => {
    const values = own.flatMap((rating) => of(rating) ?? []);
    return values.length === 0 ? null : mean(values);
  };
  const votes = { yes: count("yes"), no: count("no"), unsure: count("unsure") };
  return { id, ...votes, helpfulness: middle(helpfulness), clarity: middle(clarity) };
}
