/** Traces and chains as what behaviours are counted of, and how right their answers are. */
import { parseTurn } from "../../text/grammar.ts";
import type { ChainLine } from "../../search/linearize.ts";
import { behavioursOf, type Behaviours, type BehaviourRules } from "../../task/behaviours.ts";
import { coordinateArg } from "../../task/tools/place-args.ts";
import { thoughtSentences } from "../../task/sentences.ts";
import type { Trace } from "../../task/trace.ts";
import type { Observation } from "./figures.ts";

/** What was counted in a trace. @param isRight null: by its own reward, where it has one */
export function observeTrace(
  trace: Trace,
  rules: BehaviourRules,
  isRight: boolean | null = null,
): { observation: Observation; behaviours: Behaviours } {
  const { recordId, question, reward } = trace;
  const behaviours = behavioursOf(trace, rules);
  const own = reward === null ? null : reward.accuracy >= 0.5;
  return {
    observation: { recordId, question, isRight: isRight ?? own, counts: behaviours.counts },
    behaviours,
  };
}

/**
 * What was counted in a chain, which answers right by its making. Its calls were carried out; what its
 * crops share is not known, and where one looks only where it names a point of the first picture.
 */
export function observeChain(chain: ChainLine, rules: BehaviourRules): Observation {
  const { recordId, question, answer, seen } = chain;
  const resized = seen ?? { widthPx: Infinity, heightPx: Infinity };
  const view = { resized, coordinates: "resized" } as const;
  const turns = chain.turns.map((text) => ({ text }));
  const toolUses = chain.turns.flatMap((text, turn) => {
    const { toolCall } = parseTurn(text);
    if (toolCall?.ok !== true) return [];
    return [{ turn, at: placeOf(toolCall.call.args), fault: null }];
  });
  const observed = { turns, answer, view, pictures: [], toolUses };
  return { recordId, question, isRight: true, counts: behavioursOf(observed, rules).counts };
}

function placeOf({ coordinate, img_idx = 0 }: Readonly<Record<string, unknown>>) {
  const written = coordinateArg.safeParse(coordinate);
  if (!written.success || img_idx !== 0) return null;
  const [x, y] = written.data;
  return { picture: 0, x, y };
}

/** All thoughts of a trace or a chain, in order, for a model that reads them. */
export function thoughtsOf({ turns }: { readonly turns: readonly { readonly text: string }[] }) {
  return thoughtSentences(turns, null)
    .map(({ text }) => text)
    .join("\n");
}
