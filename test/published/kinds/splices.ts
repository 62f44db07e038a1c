/** Single-turn chains into turns with a tool call for each new place. */
import { Rng } from "../../../src/core/random.ts";
import { linearizeConfig } from "../../../src/search/linearize-config.ts";
import { rescaled, splice } from "../../../src/search/splice.ts";
import { smartResize } from "../../../src/image/smart-resize.ts";
import { dialects } from "../../../src/text/dialects/table.ts";
import { parseTurn } from "../../../src/text/grammar.ts";
import type { Kind } from "../kind.ts";
import { disturbed, thought } from "../words.ts";

interface Input {
  readonly text: string;
  readonly size: readonly [number, number];
  /** Pixels that the picture is brought to, with its coordinates; null: it stays. */
  readonly budget: readonly [number, number] | null;
  /** Where the first call goes, of the places that it may have; null: it stays. */
  readonly place: number | null;
}

const rules = linearizeConfig.parse({ profile: "repo" }).splice;

export const splices: Kind<Input> = {
  name: "splices",
  make(random, style) {
    const isScaled = random.chance(0.3);
    // Among few places, some are named again.
    const body = thought(random, 6, isScaled ? 1200 : random.pick([1200, 2]));
    const answer = random.pick(["left", "the cup", "2"]);
    const text = `<think>\n${body}\n</think>\n<answer> ${answer} </answer>`;
    const isOdd = style === "hostile";
    const large = random.int(1201, 2400);
    const side = () => (isOdd && random.chance(0.3) ? random.int(200, 1200) : large);
    return {
      text: isOdd && random.chance(0.7) ? disturbed(text, random) : text,
      size: [side(), side()],
      budget: isScaled ? [2_700_000, 2_850_000] : null,
      place: random.chance(0.4) ? random.int(0, 3) : null,
    };
  },
  ask: ({ text, size, budget, place }) => [text, size, budget, place],
  ours({ text, size: [widthPx, heightPx], budget, place }) {
    const result = splice(text, {
      rules,
      toolName: "search_coordinate",
      published: true,
      dialect: dialects.vigorl,
      isInside: ({ x, y }) => x >= 0 && y >= 0 && x <= widthPx && y <= heightPx,
      random: new Places(place),
    });
    if (!result.ok) return null;
    const [width, height] =
      budget === null ? [widthPx, heightPx] : seenAt(widthPx, heightPx, budget);
    const scale = { x: width / widthPx, y: height / heightPx };
    const turns =
      budget === null ? result.turns : result.turns.map((turn) => rescaled(turn, scale));
    const parsed = turns.map((turn) => parseTurn(turn, dialects.vigorl));
    const calls = parsed
      .slice(0, -1)
      .map(({ thinks, toolCall }) => [
        thinks.join(),
        toolCall?.ok === true ? toolCall.call.args.coordinate : null,
      ]);
    return { calls, answer: parsed.at(-1)?.answer?.text };
  },
  differences: [
    {
      reason: "the splicer raises on point answers and on chains without an answer",
      covers: (_, published) => isRaised(published),
    },
    {
      reason: "thoughts alone are read: no part of an answer becomes a thought or a call",
      covers: ({ text }, published) =>
        JSON.stringify(published).includes("<answer>") || /\(.*<\/answer>/s.test(answerPart(text)),
    },
    {
      reason: "a thought ends at its closing tag, and one without tags is none",
      covers: ({ text }) => !/^<think>\n[^<]*\n<\/think>\n<answer>[^<]*<\/answer>$/.test(text),
    },
    {
      isRare: true,
      reason:
        "places are told apart, and lie inside or not, before they are brought to another size",
      covers: ({ budget }) => budget !== null,
    },
  ],
};

function isRaised(published: unknown): boolean {
  return typeof published === "object" && published !== null && "raises" in published;
}

/** What stands behind the first thought. */
function answerPart(text: string): string {
  return text.slice(text.indexOf("</think>"));
}

/** Draws of a place among those that the first call may have. */
class Places extends Rng {
  private readonly place: number | null;

  constructor(place: number | null) {
    super(undefined as never);
    this.place = place;
  }

  override chance(): boolean {
    return this.place !== null;
  }

  override int(low: number, high: number): number {
    return low + ((this.place ?? 0) % (high - low + 1));
  }
}

function seenAt(width: number, height: number, [minPixels, maxPixels]: readonly [number, number]) {
  const { widthPx, heightPx } = smartResize(height, width, { factor: 28, minPixels, maxPixels });
  return [widthPx, heightPx] as const;
}
