/**
 * The grammar of a whole conversation as one text: turns with the environment's observations between
 * them. `acceptsStructure` is the published tag automaton (paper A5.3); `parseTrace` reads stored
 * traces and chains back into turns.
 */
import type { Dialect } from "./dialects/dialect.ts";
import { dialects } from "./dialects/table.ts";
import { vigorl } from "./dialects/vigorl.ts";
import { findTags, readTurn, splitSegments, type ParsedTurn, type Segment } from "./grammar.ts";
import type { TextPoint } from "./points.ts";
import { defaultTags, type Tags } from "./tags.ts";

export interface ParsedTrace {
  readonly turns: readonly ParsedTurn[];
  /** What the environment said after turn 0, 1, …; trimmed. */
  readonly observations: readonly string[];
  /** Points of all think blocks, with their turn (from 0). */
  readonly points: readonly (TextPoint & { readonly turn: number })[];
  /** The answer of the first turn that has one. */
  readonly answer: ParsedTurn["answer"];
  /** Whether the tags come in an order that the automaton accepts. */
  readonly accepted: boolean;
}

/**
 * Whether the tags of `text` come as: think, then (tool call, observation, think) any number of
 * times, then answer, then no tag more. Text between tags is free; case does not matter.
 */
export function acceptsStructure(text: string, tags: Tags = defaultTags): boolean {
  let state: State = "start";
  for (const tag of findTags(text, tags, true)) {
    const next: State | undefined = TRANSITIONS[state][`${tag.opens ? "+" : "-"}${tag.kind}`];
    if (next === undefined) return false;
    state = next;
  }
  return state === "end";
}

/**
 * As `acceptsStructure`, in the tags of any dialect: models of others are not worth less. To a dialect
 * with tags of its own for calls, the usual ones are no free text.
 */
export function acceptsDialogue(text: string): boolean {
  const { open } = defaultTags.toolCall;
  const calls = text.toLowerCase().includes(open);
  return Object.values(dialects).some(
    ({ tags }) => (!calls || tags.toolCall.open === open) && acceptsStructure(text, tags),
  );
}

/** Cuts a conversation's text at its observations and reads each turn. Never throws. */
export function parseTrace(text: string, dialect: Dialect = vigorl): ParsedTrace {
  const groups: Segment[][] = [[]];
  const observations: string[] = [];
  for (const segment of splitSegments(text, dialect)) {
    if (segment.kind === "observation") {
      observations.push(segment.text.trim());
      groups.push([]);
    } else if (!isChatMarkup(segment)) groups[groups.length - 1].push(segment);
  }
  if (groups.length > 1 && groups[groups.length - 1].length === 0) groups.pop();
  const turns = groups.map((segments) => readTurn(segments, dialect));
  return {
    turns,
    observations,
    points: turns.flatMap(({ points }, turn) => points.map((point) => ({ ...point, turn }))),
    answer: turns.find((turn) => turn.answer !== null)?.answer ?? null,
    accepted: acceptsStructure(text, dialect.tags),
  };
}

/** Joins turns and the observations between them, one a line, as `parseTrace` reads them. */
export function formatTrace(
  turns: readonly string[],
  observations: readonly string[],
  tags: Tags = defaultTags,
): string {
  return turns
    .flatMap((turn, i) =>
      i < observations.length
        ? [turn, `${tags.observation.open}\n${observations[i]}\n${tags.observation.close}`]
        : [turn],
    )
    .join("\n");
}

type State =
  "start" | "think" | "thought" | "call" | "called" | "look" | "looked" | "answer" | "end";

const TRANSITIONS: Record<State, Partial<Record<string, State>>> = {
  start: { "+think": "think" },
  think: { "-think": "thought" },
  thought: { "+toolCall": "call", "+answer": "answer" },
  call: { "-toolCall": "called" },
  called: { "+observation": "look" },
  look: { "-observation": "looked" },
  looked: { "+think": "think" },
  answer: { "-answer": "end" },
  end: {},
};

/** What the chat template leaves between turns when a conversation is decoded: roles and blanks. */
function isChatMarkup({ kind, text }: Segment): boolean {
  const rest = text.replaceAll(/<\|im_(?:start|end)\|>|\b(?:user|assistant)\b/g, "");
  return kind === "text" && rest.trim() === "";
}
