/**
 * Chains from one tree, by our rules. A direct chain is a way to a right answer. A backtracking chain
 * goes a wrong way first: what both ways share comes once, the wrong answer is left out, one sentence
 * says that this does not hold up, and the right way follows. Every chain that is found either passes
 * all rules or has a named reason why not.
 */
import { stream } from "../core/random.ts";
import { contains, type Size } from "../image/frames.ts";
import type { RecordPlace } from "../task/pictures.ts";
import { dialects } from "../text/dialects/table.ts";
import { formatTurn, parseTurn } from "../text/grammar.ts";
import { attemptsOf, numShared, type Attempt } from "./attempts.ts";
import type { LinearizeConfig } from "./linearize-config.ts";
import { isCovered, placesOf } from "./places.ts";
import { usedTool, type StepLine, type TreeLine } from "./tree-line.ts";

/** Why a chain that was found is not kept. */
export const chainFaults = [
  "emptyThought",
  "tagInThought",
  "failedCall",
  "noPoint",
  "outside",
  "samePlace",
  "noNewPlace",
  "tooLong",
  "exactDuplicate",
  "nearDuplicate",
  "notChosen",
] as const;
export type ChainFault = (typeof chainFaults)[number];

/** What an assistant is to say, turn by turn; the environment's part follows from its tool calls. */
export interface Chain {
  readonly recordId: string;
  readonly question: string;
  readonly category: string | null;
  readonly kind: "direct" | "backtrack";
  /** Texts of the assistant's turns. */
  readonly turns: readonly string[];
  readonly answer: string;
  /** Places named or looked at, in order. */
  readonly places: readonly RecordPlace[];
  /** What the teacher's tools returned, by hash, one a picture; empty where it saw none. */
  readonly pictures: readonly string[];
  /** Size of the picture whose pixels the text's coordinates count; null: unknown, or thousandths. */
  readonly seen: Size | null;
  /** What a student need not imitate: the way that turned out wrong, up to the correction. */
  readonly detours: readonly Detour[];
}

/** Where a turn goes the wrong way: characters `start` to `end` (exclusive) of turn `turn`. */
export interface Detour {
  readonly turn: number;
  readonly start: number;
  readonly end: number;
}

/** A chain that was found; only one without a fault is written out. */
export type Found =
  | { readonly kind: Chain["kind"]; readonly fault: null; readonly chain: Chain }
  | { readonly kind: Chain["kind"]; readonly fault: ChainFault; readonly chain: null };

/**
 * All chains of a tree, direct ones first, in the tree's order. Every right way can be joined to every
 * wrong one; where that gives far more than are kept, so many are chosen first, evenly over the ways,
 * and the others are not chosen.
 */
export function chainsOf(tree: TreeLine, config: LinearizeConfig): Found[] {
  const attempts = attemptsOf(tree);
  const right = attempts.filter(({ isCorrect }) => isCorrect);
  const wrong = attempts.filter(({ isCorrect }) => !isCorrect);
  const found = (draft: Draft): Found => {
    const { kind } = draft;
    const fault = faultOf(draft, tree, config);
    if (fault !== null) return { kind, fault, chain: null };
    return { kind, fault, chain: compose(draft, tree, config) };
  };
  const direct = config.direct ? right.map((way) => found(directDraft(way))) : [];
  if (!config.backtrack) return direct;
  const most = pairsPerKept * config.choose.maxPerTree;
  const chosen = choosePairs(right.length, wrong.length, most, tree);
  const backtrack = Array.from({ length: right.length * wrong.length }, (_, i) =>
    chosen === null || chosen.has(i)
      ? found(backtrackDraft(wrong[i % wrong.length], right[Math.floor(i / wrong.length)]))
      : unchosen,
  );
  return [...direct, ...backtrack];
}

/** So many pairs of ways are looked at for each chain that may be kept of a tree. */
const pairsPerKept = 16;

const unchosen: Found = { kind: "backtrack", fault: "notChosen", chain: null };

/** `most` of all pairs, as places in their list, every right way in turn; null: all of them. */
function choosePairs(
  numRight: number,
  numWrong: number,
  most: number,
  { seed, recordId }: TreeLine,
): Set<number> | null {
  if (numRight * numWrong <= most) return null;
  const random = stream(seed, "pairs", recordId);
  const right = random.shuffle([...Array(numRight).keys()]);
  const wrong = random.shuffle([...Array(numWrong).keys()]);
  const pairs = Array.from({ length: most }, (_, i) => {
    const detour = ((i % numRight) + Math.floor(i / numRight)) % numWrong;
    return right[i % numRight] * numWrong + wrong[detour];
  });
  return new Set(pairs);
}

/** The parts of a chain before it is written out. */
interface Draft {
  readonly kind: Chain["kind"];
  /** What comes before the correction: shared steps, then the wrong way's, its answer left out. */
  readonly before: readonly StepLine[];
  /** The thought that led to the wrong answer; empty in direct chains. */
  readonly wrongThink: string;
  /** The right way, behind what is shared; its last step answers. */
  readonly after: readonly StepLine[];
  /** How many of `before` both ways share. */
  readonly numShared: number;
  readonly answer: string;
}

function directDraft({ steps, answer }: Attempt): Draft {
  return { kind: "direct", before: [], wrongThink: "", after: steps, numShared: 0, answer };
}

function backtrackDraft(wrong: Attempt, right: Attempt): Draft {
  const shared = numShared(wrong, right);
  return {
    kind: "backtrack",
    before: wrong.steps.slice(0, -1),
    wrongThink: wrong.steps[wrong.steps.length - 1].think,
    after: right.steps.slice(shared),
    numShared: shared,
    answer: right.answer,
  };
}

/** The picture whose pixels the coordinates of a tree count. */
export function countedIn({ view }: Pick<TreeLine, "view">): Size | null {
  return view === null || view.coordinates === "relative" ? null : view.resized;
}

function compose(draft: Draft, tree: TreeLine, config: LinearizeConfig): Chain {
  const steps = [...draft.before, ...draft.after];
  const hasTurns = tree.steps === "turn";
  const turns = hasTurns ? turnsOf(draft, tree, config) : [singleTurn(draft, tree, config)];
  return {
    recordId: tree.recordId,
    question: tree.question,
    category: tree.category,
    kind: draft.kind,
    turns,
    answer: draft.answer,
    places: steps.flatMap(placesOf),
    pictures: steps.flatMap(({ picture }) => (picture === null ? [] : [picture.imageHash])),
    seen: countedIn(tree),
    detours: hasTurns ? turnDetours(draft, turns) : singleDetours(draft, turns[0]),
  };
}

/** Whole turns behind the shared ones, and the thought that led to the wrong answer. */
function turnDetours({ before, numShared: shared, wrongThink }: Draft, turns: readonly string[]) {
  const whole = before.slice(shared).map((_, i) => {
    const turn = shared + i;
    return { turn, start: 0, end: turns[turn].length };
  });
  return [...whole, ...spanOf(wrongThink, before.length, turns[before.length])];
}

/** The thoughts behind the shared ones. */
function singleDetours(draft: Draft, text: string): Detour[] {
  const shared = joined(draft.before.slice(0, draft.numShared).map(({ think }) => think));
  const wrong = joined(detourThinks(draft).slice(draft.numShared));
  return draft.kind === "direct"
    ? []
    : spanOf(wrong, 0, text, text.indexOf(shared) + shared.length);
}

function spanOf(words: string, turn: number, text: string, from = 0): Detour[] {
  const start = words === "" ? -1 : text.indexOf(words, from);
  return start < 0 ? [] : [{ turn, start, end: start + words.length }];
}

/** One turn a step; the thought behind a wrong answer joins the first one of the right way. */
function turnsOf(
  { before, wrongThink, after, kind, answer }: Draft,
  tree: TreeLine,
  config: LinearizeConfig,
): string[] {
  const dialect = dialects[tree.dialect];
  const detour = [wrongThink, config.correction].filter((text) => text !== "").join(" ");
  return [...before, ...after].map((step, i) => {
    const isTurning = kind === "backtrack" && i === before.length;
    const think = isTurning ? `${detour} ${step.think}`.trim() : step.think;
    const called = parseTurn(step.text, dialect).toolCall;
    if (step.answer === null && called?.ok === true)
      return formatTurn({ think, toolCall: called.call }, "inline", dialect);
    return formatTurn({ think, answer }, "inline", dialect);
  });
}

function singleTurn(draft: Draft, tree: TreeLine, { layout, correction }: LinearizeConfig): string {
  const right = joined(draft.after.map(({ think }) => think));
  const gap = layout === "block" ? "\n" : " ";
  const think =
    draft.kind === "direct"
      ? right
      : [joined(detourThinks(draft)), correction, right].join(gap).trim();
  return formatTurn({ think, answer: draft.answer }, layout, dialects[tree.dialect]);
}

function joined(thinks: readonly string[]): string {
  return thinks.filter((text) => text !== "").join(" ");
}

function detourThinks({ before, wrongThink }: Draft): string[] {
  return [...before.map(({ think }) => think), wrongThink];
}

function faultOf(draft: Draft, tree: TreeLine, config: LinearizeConfig): ChainFault | null {
  const { before, after, kind, wrongThink } = draft;
  const steps = [...before, ...after];
  const hasTurns = tree.steps === "turn";
  const isEmpty = hasTurns ? steps.some(({ think }) => think.trim() === "") : body(after) === "";
  if (isEmpty) return "emptyThought";
  const detour = body(before.slice(draft.numShared)) + wrongThink.trim();
  if (kind === "backtrack" && detour === "") return "emptyThought";
  if ([...steps.map(({ think }) => think), wrongThink, draft.answer].some(hasTag))
    return "tagInThought";
  if (hasTurns && steps.some((step) => step.answer === null && !usedTool(step)))
    return "failedCall";
  const points = steps.flatMap((step) => [...step.points, ...lookedAt(step)]);
  if (points.length < config.minPoints) return "noPoint";
  const size = tree.view?.resized;
  const isInside = (at: RecordPlace) => at.picture > 0 || size === undefined || contains(size, at);
  if (!points.every(isInside)) return "outside";
  if (hasTurns && looksTwice(steps, config.repeatRadiusPx)) return "samePlace";
  const newPlaces = after.flatMap(placesIn(hasTurns));
  const known = before.flatMap(placesIn(hasTurns));
  if (kind === "backtrack" && isCovered(newPlaces, known, config.repeatRadiusPx))
    return "noNewPlace";
  const length = hasTurns ? steps.length : steps.filter(({ think }) => think !== "").length;
  return length > (hasTurns ? config.maxTurns : config.maxThoughts) ? "tooLong" : null;
}

/** What counts as a look: tool uses where there are tools, points in thoughts where there are none. */
function placesIn(hasTurns: boolean): (step: StepLine) => RecordPlace[] {
  return (step) => (hasTurns ? lookedAt(step) : placesOf(step));
}

function lookedAt({ toolUse }: StepLine): RecordPlace[] {
  return toolUse === null || toolUse.at === null ? [] : [toolUse.at];
}

function looksTwice(steps: readonly StepLine[], radiusPx: number): boolean {
  const looked = steps.flatMap(lookedAt);
  return looked.some((at, i) => isCovered([at], looked.slice(0, i), radiusPx));
}

function body(steps: readonly StepLine[]): string {
  return steps.map(({ think }) => think.trim()).join("");
}

const TAGS = [
  ...Object.values(dialects).flatMap(({ tags }) =>
    Object.values(tags).flatMap(({ open, close }) => [open, close]),
  ),
  "<|",
  "<image>",
];

/** Whether a thought quotes a tag or a control token, which a student would learn to write. */
export function hasTag(text: string): boolean {
  return TAGS.some((tag) => text.includes(tag));
}
