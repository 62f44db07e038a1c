/**
 * Which questions of an evaluation occur in a training set: by their pictures, by their words, or by both
 * in one training question. The evaluation is held in memory; the training set is read once, question by
 * question, and of its matches only the best and their number are kept.
 */
import { forEachBounded } from "../../core/bounded.ts";
import { VigorlError } from "../../core/errors.ts";
import { shownTruth } from "../../task/kinds.ts";
import type { ImageSource, PlacedRecord, TaskRecord } from "../../task/record.ts";
import { PictureIndex, SourcePicture, type Depth, type PictureMatch } from "./pictures.ts";
import { WordsIndex, wordsOf } from "./words.ts";

/** A question of the evaluation that occurs in the training set. */
export interface Leak {
  readonly task: string;
  readonly id: string;
  /** "question": one training question has its picture and its words; else what they share. */
  readonly what: "question" | "picture" | "words";
  /** The training question that is nearest to it, and how many share as much. */
  readonly partner: { readonly id: string; readonly place: string };
  readonly partners: number;
  readonly picture: Pick<PictureMatch, "how" | "correlation"> | null;
  /** Jaccard index of the words; 1 where they are the same. */
  readonly words: { readonly similarity: number } | null;
}

export interface Leaks {
  readonly depth: Depth;
  /** Questions of the evaluation, and of the training set. */
  readonly asked: number;
  readonly trained: number;
  /** Distinct pictures of the evaluation, and pictures of training questions, that were compared. */
  readonly pictures: number;
  readonly trainedPictures: number;
  readonly leaks: readonly Leak[];
  /**
   * Questions whose words stand in the training set about several other pictures, or with another answer:
   * such words do not give the answer away.
   */
  readonly commonWords: number;
  /** Pictures that could not be read, with a reason. */
  readonly unread: { readonly count: number; readonly first: string } | null;
  /** Pictures without a file, where files are compared. */
  readonly drawn: number;
  /** Training questions whose words were near too many others to compare them all. */
  readonly cappedWords: number;
}

export interface LeakOptions {
  readonly depth: Depth;
  readonly signal?: AbortSignal;
  readonly onProgress?: (trained: number) => void;
}

/** Training questions whose pictures are decoded at once. */
const AT_ONCE = 3;

/**
 * @throws VigorlError("input") where no training question was read, or pictures were there and none of
 *   them could be compared
 */
export async function findLeaks(
  sets: readonly { readonly task: string; readonly records: Iterable<TaskRecord> }[],
  training: AsyncIterable<PlacedRecord>,
  { depth, signal, onProgress }: LeakOptions,
): Promise<Leaks> {
  const pictures = new PictureIndex(depth);
  const texts = new WordsIndex();
  const faults = new Faults();
  const asked: Asked[] = [];
  for (const { task, records } of sets)
    for (const record of records) {
      signal?.throwIfAborted();
      const own: number[] = [];
      for (const source of record.images) {
        const picture = new SourcePicture(source, `${task} ${record.id}`);
        const number = await faults.unlessUnread(-1, () => pictures.add(picture));
        if (number !== null) own.push(number);
      }
      const text = texts.add(wordsOf(record));
      asked.push({ task, id: record.id, answer: answerOf(record), pictures: own, text });
    }
  const tallies = asked.map(() => new Tally());
  const byPicture = grouped(asked.map((one) => one.pictures));
  const byText = grouped(asked.map(({ text }) => [text]));
  let [trained, trainedPictures] = [0, 0];
  await forEachBounded(training, AT_ONCE, signal, async ({ record, place }, _, order) => {
    const pictured = new Map<number, PictureMatch>();
    for (const source of record.images) {
      const picture = new SourcePicture(source, `${place}: ${record.id}`);
      const matches = await faults.unlessUnread(order, () => pictures.find(picture));
      if (matches === null) continue;
      trainedPictures++;
      for (const match of matches)
        for (const question of byPicture.get(match.picture) ?? [])
          if (match.correlation > (pictured.get(question)?.correlation ?? -1))
            pictured.set(question, match);
    }
    const worded = new Map<number, number>();
    for (const { text, similarity } of texts.find(wordsOf(record)))
      for (const question of byText.get(text) ?? []) worded.set(question, similarity);
    const partner = { id: record.id, place, order };
    for (const question of new Set([...pictured.keys(), ...worded.keys()])) {
      const match = pictured.get(question) ?? null;
      tallies[question].add(partner, match, worded.get(question) ?? null);
      if (match === null)
        tallies[question].addOther(
          record.images.map(identityOf).join(" "),
          answerOf(record) === asked[question].answer,
        );
    }
    trained++;
    onProgress?.(trained);
  });
  if (trained === 0 || asked.length === 0)
    throw new VigorlError("input", "leaks: nothing was compared: one side has no questions");
  const { unread, drawn } = faults;
  if (unread !== null && pictures.size * trainedPictures === 0)
    throw new VigorlError(
      "input",
      `leaks: no picture could be compared, ${unread.count} could not be read: ${unread.first}`,
      { hint: "name the folder of the pictures in the recipe: data.train, data.heldout" },
    );
  const shared = textsAboutSeveral(asked, byText);
  const found = tallies.map((tally, i) => tally.result(shared.has(asked[i].text)));
  return {
    depth,
    asked: asked.length,
    trained,
    pictures: pictures.size,
    trainedPictures,
    leaks: found.flatMap((one, i) => {
      const { task, id } = asked[i];
      return one === null || one === "common" ? [] : [{ task, id, ...one }];
    }),
    commonWords: found.filter((one) => one === "common").length,
    unread,
    drawn,
    cappedWords: texts.numCapped,
  };
}

/** A question of the evaluation, by the numbers of its pictures and of its words. */
interface Asked {
  readonly task: string;
  readonly id: string;
  readonly answer: string;
  readonly pictures: readonly number[];
  readonly text: number;
}

/** A training question; `order` is its place in the set, so that what ends first decides nothing. */
interface Partner {
  readonly id: string;
  readonly place: string;
  readonly order: number;
}

/** What was found of one question so far: of each sort of match the best and how many there are. */
class Tally {
  private readonly best: Partial<Record<Leak["what"], Best>> = {};
  /** Up to two other pictures that its words stand with. */
  private readonly others = new Set<string>();
  private isAnsweredOtherwise = false;

  add({ id, place, order }: Partner, match: PictureMatch | null, similarity: number | null): void {
    const what = match === null ? "words" : similarity === null ? "picture" : "question";
    const picture = match && { how: match.how, correlation: match.correlation };
    const words = similarity === null ? null : { similarity };
    const before = this.best[what];
    const partners = (before?.leak.partners ?? 0) + 1;
    const rank = (match?.correlation ?? 0) + (similarity ?? 0);
    const isBetter =
      before === undefined || rank > before.rank || (rank === before.rank && order < before.order);
    this.best[what] = isBetter
      ? { rank, order, leak: { what, partner: { id, place }, partners, picture, words } }
      : { ...before, leak: { ...before.leak, partners } };
  }

  /** A training question with its words about another picture. */
  addOther(picture: string, isSameAnswer: boolean): void {
    if (this.others.size < 2) this.others.add(picture);
    if (!isSameAnswer) this.isAnsweredOtherwise = true;
  }

  /** @param isShared its words are asked about several pictures in the evaluation itself */
  result(isShared: boolean): Best["leak"] | "common" | null {
    const { question, picture, words } = this.best;
    const pictured = question ?? picture;
    if (pictured !== undefined) return pictured.leak;
    if (words === undefined) return null;
    const isCommon = isShared || this.others.size > 1 || this.isAnsweredOtherwise;
    return isCommon ? "common" : words.leak;
  }
}

interface Best {
  readonly rank: number;
  readonly order: number;
  readonly leak: Omit<Leak, "task" | "id">;
}

/** Pictures that could not be compared. */
class Faults {
  private count = 0;
  private first = { order: Infinity, message: "" };
  drawn = 0;

  get unread(): Leaks["unread"] {
    return this.count === 0 ? null : { count: this.count, first: this.first.message };
  }

  /** What `use` gives; null, counted, where the picture cannot be read or has nothing to compare. */
  async unlessUnread<T>(order: number, use: () => Promise<T | null>): Promise<T | null> {
    try {
      const used = await use();
      if (used === null) this.drawn++;
      return used;
    } catch (error) {
      if (!(error instanceof VigorlError)) throw error;
      this.count++;
      if (order < this.first.order) this.first = { order, message: error.message };
      return null;
    }
  }
}

/** Texts that are asked about several pictures. */
function textsAboutSeveral(
  asked: readonly Asked[],
  byText: ReadonlyMap<number, readonly number[]>,
): Set<number> {
  const several = [...byText].filter(
    ([, questions]) => new Set(questions.map((one) => asked[one].pictures.join())).size > 1,
  );
  return new Set(several.map(([text]) => text));
}

/** The truth in a form that compares. */
function answerOf(record: TaskRecord): string {
  return shownTruth(record).text.trim().toLowerCase();
}

function identityOf(source: ImageSource): string {
  return source.kind === "path" ? source.path : source.name;
}

/** Which questions have each number. */
function grouped(numbers: readonly (readonly number[])[]): Map<number, number[]> {
  const groups = new Map<number, number[]>();
  for (const [question, own] of numbers.entries())
    for (const number of new Set(own)) {
      const group = groups.get(number);
      if (group === undefined) groups.set(number, [question]);
      else group.push(question);
    }
  return groups;
}
