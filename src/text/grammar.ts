/**
 * The grammar of one assistant turn: a think block, then a tool call or an answer. Everything that
 * writes or reads such text goes through here: chain builders, episodes, rewards, judges, the page.
 * Parsing accepts any string whatever and says what is wrong with it; `parseTurn(formatTurn(x))`
 * gives x back. Whole conversations are in `structure.ts`.
 */
import type { Dialect, ReadCall, ToolCall } from "./dialects/dialect.ts";
import { vigorl } from "./dialects/vigorl.ts";
import { scanPoints, type TextPoint } from "./points.ts";
import { defaultTags, type BlockKind, type Tags } from "./tags.ts";

/** A piece of text: a block between its tags, or what stands between blocks. */
export interface Segment {
  readonly kind: BlockKind | "text";
  /** Without the tags, not trimmed. */
  readonly text: string;
  /** Where `text` begins in the whole. */
  readonly start: number;
  /** Whether the closing tag came before another tag or the end; always true for "text". */
  readonly closed: boolean;
}

export interface ParsedTurn {
  readonly segments: readonly Segment[];
  /** Texts of the think blocks, trimmed. */
  readonly thinks: readonly string[];
  /** Points of the think blocks, in order; offsets count in the whole text. */
  readonly points: readonly TextPoint[];
  /** The first tool call, closed or not; later ones are never carried out. Null where there is none. */
  readonly toolCall: ReadCall | null;
  /** The last closed answer, trimmed; where none is closed, the one that the text ends inside. */
  readonly answer: { readonly text: string; readonly closed: boolean } | null;
  /** One closed, non-empty think block, then one call or one non-empty answer, and only blanks around. */
  readonly wellFormed: boolean;
  /** The text ends within a thought, or within a string of a call: tags in there may yet be quoted. */
  readonly isOpen: boolean;
}

/** Parses an assistant turn. Never throws. */
export function parseTurn(text: string, dialect: Dialect = vigorl): ParsedTurn {
  return readTurn(splitSegments(text, dialect), dialect);
}

/** What a turn says, for `formatTurn`. */
export type Turn =
  | { readonly think: string; readonly toolCall: ToolCall }
  | { readonly think: string; readonly answer: string };

/**
 * Writes a turn. "inline" puts the thought on the line of its tags, as multi-turn data has it;
 * "block" on lines of its own, as single-turn data has it.
 */
export function formatTurn(
  turn: Turn,
  layout: "inline" | "block" = "inline",
  dialect: Dialect = vigorl,
): string {
  const { tags } = dialect;
  const gap = layout === "inline" ? " " : "\n";
  const think = `${tags.think.open}${gap}${turn.think}${gap}${tags.think.close}\n`;
  if ("answer" in turn) return `${think}${tags.answer.open} ${turn.answer} ${tags.answer.close}`;
  return `${think}${tags.toolCall.open}\n${dialect.write(turn.toolCall)}\n${tags.toolCall.close}`;
}

/**
 * The opening that forces an answer: a think block with one fixed sentence (none where it is empty)
 * and an open answer tag. The model goes on inside the answer.
 */
export function forcedAnswerPrefix(sentence: string, { tags }: Dialect = vigorl): string {
  if (sentence === "") return tags.answer.open;
  return `${tags.think.open} ${sentence} ${tags.think.close}\n${tags.answer.open}`;
}

/** The strings at which a turn is over. */
export function stopStrings(canCall: boolean, { tags }: Dialect = vigorl): string[] {
  return canCall ? [tags.toolCall.close, tags.answer.close] : [tags.answer.close];
}

/**
 * Cuts a text at its tags. A thought runs to its closing tag, and a call to the one that stands in none
 * of its strings: tags within are quoted. A block that never closes ends, unclosed, where the next one
 * opens; a closing tag without its opening one stays part of the text around it.
 */
export function splitSegments(text: string, dialect: Dialect = vigorl): Segment[] {
  const found = findTags(text, dialect.tags);
  const out: Segment[] = [];
  const push = (kind: Segment["kind"], start: number, end: number, closed: boolean) =>
    out.push({ kind, text: text.slice(start, end), start, closed });
  let from = 0;
  for (let i = 0; i < found.length;) {
    const tag = found[i];
    if (!tag.opens) {
      i++;
      continue;
    }
    if (tag.start > from) push("text", from, tag.start, true);
    const last = endOf(found, i, text, dialect);
    const closes = last < found.length && !found[last].opens;
    const end = last < found.length ? found[last].start : text.length;
    push(tag.kind, tag.end, end, closes);
    from = closes ? found[last].end : end;
    i = closes ? last + 1 : last;
  }
  if (from < text.length) push("text", from, text.length, true);
  return out;
}

/** Reads one turn's segments. */
export function readTurn(segments: readonly Segment[], dialect: Dialect = vigorl): ParsedTurn {
  const of = (kind: BlockKind) => segments.filter((segment) => segment.kind === kind);
  const thinks = of("think");
  const calls = of("toolCall");
  const answers = of("answer");
  const answer = answers.findLast((segment) => segment.closed) ?? answers.at(-1);
  const toolCall = calls.length === 0 ? null : dialect.read(calls[0].text);
  const lastThink = segments.findLastIndex(({ kind }) => kind === "think");
  return {
    segments,
    thinks: thinks.map((segment) => segment.text.trim()),
    points: thinks.flatMap(({ text, start }) =>
      scanPoints(text).map((p) => ({ ...p, start: p.start + start, end: p.end + start })),
    ),
    toolCall,
    answer: answer === undefined ? null : { text: answer.text.trim(), closed: answer.closed },
    wellFormed: isWellFormed(segments, toolCall),
    isOpen: segments[lastThink]?.closed === false || endsQuoting(segments, dialect),
  };
}

/** The tag that ends the block which tag `i` opens; the number of tags where the text ends first. */
function endOf(found: readonly FoundTag[], i: number, text: string, dialect: Dialect): number {
  const { kind, end } = found[i];
  const first = (matches: (tag: FoundTag) => boolean) => {
    let at = i + 1;
    while (at < found.length && !matches(found[at])) at++;
    return at;
  };
  const plain = first((tag) => tag.opens || tag.kind === kind);
  if (kind === "think") {
    const own = first((tag) => tag.kind === "think");
    return own < found.length && !found[own].opens ? own : plain;
  }
  if (kind !== "toolCall") return plain;
  const quotes = dialect.quotes(text, end);
  const isQuoted = (at: number) => quotes.some((quote) => quote.start < at && at < quote.end);
  const own = first((tag) => (tag.opens || tag.kind === kind) && !isQuoted(tag.start));
  // Tags in a string that nothing closes are taken for what they look like.
  return own === found.length && isQuoted(text.length) ? plain : own;
}

/** Whether some call, cut where the next tag stands, ends within a string. */
function endsQuoting(segments: readonly Segment[], dialect: Dialect): boolean {
  const call = segments.findIndex(({ kind }) => kind === "toolCall");
  if (call < 0) return false;
  const { text } = segments[call];
  return dialect.quotes(text, 0).some(({ end }) => end > text.length);
}

function isWellFormed(segments: readonly Segment[], toolCall: ReadCall | null): boolean {
  const solid = segments.filter(({ kind, text }) => kind !== "text" || text.trim() !== "");
  if (solid.length !== 2 || solid.some(({ closed, text }) => !closed || text.trim() === ""))
    return false;
  const [first, second] = solid;
  if (first.kind !== "think") return false;
  return second.kind === "answer" || (second.kind === "toolCall" && toolCall?.ok === true);
}

export interface FoundTag {
  readonly kind: BlockKind;
  readonly opens: boolean;
  readonly start: number;
  readonly end: number;
}

/** All tags of a text in order; `ignoreCase` as the published structure check does. */
export function findTags(text: string, tags: Tags = defaultTags, ignoreCase = false): FoundTag[] {
  const known = (["think", "answer", "toolCall", "observation"] as const).flatMap((kind) => [
    { text: tags[kind].open, kind, opens: true },
    { text: tags[kind].close, kind, opens: false },
  ]);
  const pattern = known.map((tag) => escapeRegExp(tag.text)).join("|");
  const fold = (value: string) => (ignoreCase ? value.toLowerCase() : value);
  return Array.from(text.matchAll(new RegExp(pattern, ignoreCase ? "gi" : "g")), (match) => {
    const tag = known.find((candidate) => fold(candidate.text) === fold(match[0])) ?? known[0];
    return {
      kind: tag.kind,
      opens: tag.opens,
      start: match.index,
      end: match.index + match[0].length,
    };
  });
}

function escapeRegExp(text: string): string {
  return text.replaceAll(/[\\^$.*+?()[\]{}|/-]/g, String.raw`\$&`);
}
