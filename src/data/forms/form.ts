/**
 * What a form of other people's datasets is: how one of its rows reads as questions with answers. One
 * file a form; `table.ts` is their table. A form names what it used of a row, so that what no record
 * keeps can be counted, and gives a reason where a row is none of its own.
 */

/** One row of a file as it stands there. */
export type Row = Readonly<Record<string, unknown>>;

/** An image as a row names it: a path or a `data:` URL, or its bytes. */
export type ImageCell = string | { readonly bytes: Uint8Array; readonly name: string };

/** A question as a row has it, before it is checked. */
export interface Draft {
  readonly id?: string;
  readonly question: string;
  readonly answer: unknown;
  readonly images: readonly ImageCell[];
  readonly choices?: readonly string[];
  readonly kind?: string;
  readonly category?: string;
  readonly evidence?: unknown;
}

export interface Read {
  /** Keys of the row that drafts were made of, each with the key of ours that it became. */
  readonly used: Readonly<Record<string, string>>;
  readonly drafts: readonly Draft[];
  /** What was changed on the way, in words that follow a count of rows. */
  readonly notes: readonly string[];
}

export interface Unread {
  readonly reason: string;
}

export interface Form {
  /** A phrase for the help of the verb. */
  readonly about: string;
  readonly read: (row: Row) => Read | Unread;
}

/** The first of several keys that a row has a value under. */
export function keyIn(row: Row, keys: readonly string[]): string | undefined {
  return keys.find((key) => {
    const value = row[key];
    return value !== undefined && value !== null && value !== "";
  });
}

/** What people call the same thing. The first that a row has counts. */
export const aliases = {
  id: ["id", "question_id", "qid", "uid", "index"],
  question: ["question", "problem", "query", "instruction", "prompt", "text"],
  answer: ["answer", "solution", "ground_truth", "label", "completion", "response", "output"],
  images: ["images", "image", "image_path", "image_paths", "img", "image_file", "file_name"],
  choices: ["choices", "options"],
  category: ["category", "subset", "split_name"],
  kind: ["kind"],
  evidence: ["evidence"],
} as const satisfies Partial<Record<keyof Draft, readonly string[]>>;
