/**
 * The grammar of one assistant turn: a think block, then a tool call or an answer. Everything that
 * writes or reads such text goes through here: chain builders, episodes, rewards, judges, the page.
 * Parsing accepts any string whatever and says what is wrong with it; `parseTurn(formatTurn(x))`
 * gives x back. Whole conversations are in `structure.ts`.
 */
import { scanPoints, type TextPoint } from "./points.ts";
import {
  formatToolCall,
  parseToolCall,
  zoomToolNames,
  type ToolCall,
  type ToolCallResult,
} from "./tool-call.ts";

export interface TagPair {
  readonly open: string;
  readonly close: string;
}

export type BlockKind = "think" | "answer" | "toolCall" | "observation";

/** How each block is marked; checkpoints trained on other tags are served with theirs. */
export type Tags = Readonly<Record<BlockKind, TagPair>>;

export const defaultTags: Tags = {
  think: { open: "<think>", close: "</think>" },
  answer: { open: "<answer>", close: "</answer>" },
  toolCall: { open: "<tool_call>", close: "</tool_call>" },
  observation: { open: "<observation>", close: "</observation>" },
};

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
  readonly toolCall: ToolCallResult | null;
  /** The last answer, trimmed: an earlier one may be quoted in a thought. `closed` is false when the text ends inside it. */
  readonly answer: { readonly text: string; readonly closed: boolean } | null;
  /** One closed, non-empty think block, then one valid tool call or one non-empty answer, and only blanks around. */
  readonly wellFormed: boolean;
}

export interface GrammarOptions {
  readonly tags?: Tags;
  /** Names of the tools there are; null accepts any name. */
  readonly toolNames?: readonly string[] | null;
}

/** Parses an assistant turn. Never throws. */
export function parseTurn(text: string, options: GrammarOptions = {}): ParsedTurn {
  return readTurn(splitSegments(text, options.tags), options);
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
  tags: Tags = defaultTags,
): string {
  const gap = layout === "inline" ? " " : "\n";
  const think = `${tags.think.open}${gap}${turn.think}${gap}${tags.think.close}\n`;
  if ("answer" in turn) return `${think}${tags.answer.open} ${turn.answer} ${tags.answer.close}`;
  return `${think}${tags.toolCall.open}\n${formatToolCall(turn.toolCall)}\n${tags.toolCall.close}`;
}

/**
 * The opening that forces an answer: a think block with one fixed sentence (none where it is empty)
 * and an open answer tag. The model goes on inside the answer.
 */
export function forcedAnswerPrefix(sentence: string, tags: Tags = defaultTags): string {
  if (sentence === "") return tags.answer.open;
  return `${tags.think.open} ${sentence} ${tags.think.close}\n${tags.answer.open}`;
}

/** The strings at which a turn is over. */
export function stopStrings(canZoom: boolean, tags: Tags = defaultTags): string[] {
  return canZoom ? [tags.toolCall.close, tags.answer.close] : [tags.answer.close];
}

/**
 * Cuts a text at its tags. A block that meets another opening tag before its own closing tag ends
 * there, unclosed; a closing tag without its opening one stays part of the text around it.
 */
export function splitSegments(text: string, tags: Tags = defaultTags): Segment[] {
  const out: Segment[] = [];
  let kind: Segment["kind"] = "text";
  let start = 0;
  const end = (at: number, closed: boolean) => {
    if (kind !== "text" || at > start)
      out.push({ kind, text: text.slice(start, at), start, closed: closed || kind === "text" });
  };
  for (const tag of findTags(text, tags)) {
    if (!tag.opens && tag.kind !== kind) continue;
    end(tag.start, !tag.opens);
    kind = tag.opens ? tag.kind : "text";
    start = tag.end;
  }
  end(text.length, false);
  return out;
}

/** Reads one turn's segments. */
export function readTurn(segments: readonly Segment[], options: GrammarOptions = {}): ParsedTurn {
  const of = (kind: BlockKind) => segments.filter((segment) => segment.kind === kind);
  const thinks = of("think");
  const calls = of("toolCall");
  const answers = of("answer");
  const answer = answers.findLast((segment) => segment.closed) ?? answers.at(-1);
  const toolCall =
    calls.length === 0
      ? null
      : parseToolCall(
          calls[0].text,
          options.toolNames === undefined ? zoomToolNames : options.toolNames,
        );
  return {
    segments,
    thinks: thinks.map((segment) => segment.text.trim()),
    points: thinks.flatMap(({ text, start }) =>
      scanPoints(text).map((p) => ({ ...p, start: p.start + start, end: p.end + start })),
    ),
    toolCall,
    answer: answer === undefined ? null : { text: answer.text.trim(), closed: answer.closed },
    wellFormed: isWellFormed(segments, toolCall),
  };
}

function isWellFormed(segments: readonly Segment[], toolCall: ToolCallResult | null): boolean {
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
