/**
 * What a published benchmark is: where it comes from, the layouts in which it is published and how a row
 * of each becomes a record, the ways in which people ask and score it, and the figures in print. One
 * file a benchmark; `table.ts` is their list.
 *
 * A protocol is a value. It says how a question is put, what is read out of a reply, when that is right,
 * and how questions become figures. Scoring is a pure function of a record and a reply, so that the same
 * replies can be scored under all protocols.
 */
import type { z } from "zod";
import type { Row, PictureColumns } from "../../data/rows/row.ts";
import type { imageBounds } from "../../task/episode-config.ts";
import type { ImageSource, TaskRecord } from "../../task/record.ts";
import type { AnswerView } from "../../task/trajectory.ts";
import type { Convention } from "./boxes.ts";

/** The protocols that matter everywhere; a benchmark may have others by their authors' names. */
export const protocolNames = ["ours", "vigorl", "official", "lmms-eval", "vlmevalkit"] as const;

export interface Benchmark {
  /** As on the command line. */
  readonly name: string;
  readonly title: string;
  /** What it asks for, in a few words. */
  readonly asks: string;
  readonly licence: string;
  /** Where it is published: data sets of the hub, repositories. */
  readonly sources: readonly string[];
  /** What `data get` downloads; null where the hub has no copy that is read here. */
  readonly hub: Hub | null;
  /** Questions of the split that is evaluated; null where no count was verified. */
  readonly questions: number | null;
  /** What the headline is, in a few words. */
  readonly metric: string;
  /** Splits that can be asked for, the usual one first. */
  readonly splits: readonly [string, ...string[]];
  readonly layouts: readonly Layout[];
  readonly protocols: Readonly<Record<string, Protocol>> & { readonly ours: Protocol };
  readonly published: readonly PublishedFigure[];
  /** What a reader of its figures has to know, our choices among it. */
  readonly notes: readonly string[];
}

export interface Hub {
  /** `owner/name` of a data set. */
  readonly repo: string;
  /** Files of it that a split needs. */
  readonly files: (split: string) => RegExp;
}

/** A form in which a benchmark is published. The first one of which a folder has files is read. */
export interface Layout {
  readonly name: string;
  readonly format: "parquet" | "tsv" | "json" | "jsonl";
  /** Paths of its files in the folder, with `/`; the group `part` becomes `context.part`. */
  readonly files: (split: string) => RegExp;
  readonly pictures?: PictureColumns;
  /** @throws VigorlError naming the place of a row that does not have this layout */
  readonly read: (row: Row, context: RowContext) => Promise<Drafts> | Drafts;
}

export interface RowContext {
  readonly split: string;
  /** From the file's path, such as the configuration of a nested layout; "" without one. */
  readonly part: string;
  /** From 0, over all files. */
  readonly index: number;
  /** The picture file of that path or name in the folder. @throws VigorlError naming the row */
  readonly picture: (name: string) => ImageSource;
  /** Reads a file beside the rows, such as the table that rows refer to, once a load. */
  readonly side: <T>(key: string, read: (find: FindFiles) => Promise<T>) => Promise<T>;
}

/** Paths on disk of the folder's files whose relative path the pattern matches, sorted. */
export type FindFiles = (pattern: RegExp) => readonly string[];

/** What a row becomes: a question, several, or nothing where it is not part of the benchmark. */
export type Drafts = Draft | readonly Draft[] | null;

/** A record whose boxes wait for their convention. */
export interface Draft {
  readonly record: TaskRecord;
  readonly boxes?: {
    /** As published. */
    readonly numbers: readonly (readonly number[])[];
    /** Conventions in which a copy of this layout is known to write them. */
    readonly conventions: readonly Convention[];
    /** Of the picture they lie in; null: the first one's own, read from its header. */
    readonly size: { readonly widthPx: number; readonly heightPx: number } | null;
    /** Puts them into the record: [x0, y0, x1, y1] in pixels of the original. */
    readonly place: (record: TaskRecord, boxes: readonly PixelBox[], size: PixelSize) => TaskRecord;
  };
}

export type PixelBox = readonly [x0: number, y0: number, x1: number, y1: number];
export interface PixelSize {
  readonly widthPx: number;
  readonly heightPx: number;
}

/** What a model said, as every judge gets it. */
export interface Reply {
  /** Its last turn as written, control tokens left out. */
  readonly text: string;
  /** What stands in its answer tags, or the whole reply where no tags were asked for; null without. */
  readonly answer: string | null;
  /** How its coordinates are to be read; null: as pixels of the original. */
  readonly view: AnswerView | null;
}

/**
 * How a verdict came about. "read": by the rule. "unread": the rule read nothing, which counts as wrong.
 * "chance": the published scorer draws at random here, and the score is what that gives on average.
 * "llm": the published scorer asks a language model here; without one it counts as wrong.
 */
export const verdictWays = ["read", "unread", "chance", "llm"] as const;

export interface Verdict {
  /** In [0, 1]. */
  readonly score: number;
  /** What the rule read out of the reply; null where it read nothing. */
  readonly read: string | null;
  readonly how: (typeof verdictWays)[number];
  /** Measures besides the verdict, by name. */
  readonly also?: Readonly<Record<string, number>>;
}

export interface Protocol {
  /** In a sentence: what it reads, and what is right. */
  readonly about: string;
  readonly prompt: Prompt;
  /** Size of pictures as the model sees them; without it the recipe's. */
  readonly pixels?: z.input<typeof imageBounds>;
  readonly judge: (record: TaskRecord, reply: Reply) => Verdict;
  /** The headline first. */
  readonly figures: Figures;
  /** Where the published scorer asks a language model. */
  readonly llm?: LlmNeed;
}

/** How a question is put. */
export interface Prompt {
  /**
   * "recipe": in the recipe's words, with its tools, answered in tags. "bare": as one user message
   * without a system prompt or tools, the whole reply being the answer.
   */
  readonly form: "recipe" | "bare";
  readonly question: (record: TaskRecord) => string;
}

export interface LlmNeed {
  /** Which replies: those that no rule reads, or all. */
  readonly when: "unread" | "always";
  /** The published judge. */
  readonly model: string;
  /** What it is given, and what it gives back. */
  readonly asks: string;
}

export interface Scored {
  readonly record: TaskRecord;
  readonly verdict: Verdict;
}

export type Figures = (scored: readonly Scored[]) => Figure[];

export interface Figure {
  readonly name: string;
  /** A share in [0, 1]. */
  readonly value: number;
  /** Questions, or groups of them, that it is a mean of. */
  readonly n: number;
  /** "micro": over questions; "macro": over the means of groups; others name themselves. */
  readonly mean: string;
}

/** A figure in print, to stand beside ours. */
export interface PublishedFigure {
  readonly who: string;
  /** Which figure, where it is not the headline. */
  readonly what?: string;
  /** In points, as printed. */
  readonly value: number;
  /** As printed behind ±. */
  readonly plusMinus?: number;
  readonly where: string;
}
