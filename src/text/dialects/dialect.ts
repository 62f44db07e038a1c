/**
 * How tool calls are written: a dialect knows the tags of a turn, reads and writes what stands between
 * those of a call, and says what in it is quoted. Which tools there are, and what their arguments mean,
 * is no matter of a dialect. Nothing here throws on what a model wrote.
 */
import type { Tags } from "../tags.ts";
import type { DialectName } from "./table.ts";

/** A call as written: a tool by name, and its arguments. */
export interface ToolCall {
  /** Null where a dialect does without names. */
  readonly name: string | null;
  readonly args: Readonly<Record<string, unknown>>;
  /** Arguments as they were written, of dialects that do not tell a number from its digits. */
  readonly texts?: Readonly<Record<string, string>>;
}

/** Why a text is no call, from the first thing wrong with it. */
export type CallFault = "notJson" | "severalCalls" | "unknownTool" | "badArguments";

export type ReadCall =
  | { readonly ok: true; readonly call: ToolCall }
  | { readonly ok: false; readonly fault: CallFault };

/** Characters `start` to `end` (exclusive) of a text. */
export interface Span {
  readonly start: number;
  readonly end: number;
}

export interface Dialect {
  /** Key in the table. */
  readonly name: DialectName;
  readonly tags: Tags;
  /** "words": the system prompt describes tools and shows a call; "schemas": as JSON schemas. */
  readonly tells: "words" | "schemas";
  /** What places in calls are numbers of, where a dialect says so itself: a model's own way is no matter. */
  readonly coordinates?: "relative";
  /** Names are not looked at: every call goes to the first tool. */
  readonly isNameless: boolean;
  read(body: string): ReadCall;
  write(call: ToolCall): string;
  /**
   * The strings of the call whose body begins at `from`: a tag in one of them is quoted and ends
   * nothing. One that the text leaves open ends behind the text.
   */
  quotes(text: string, from: number): readonly Span[];
}
