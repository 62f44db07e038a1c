/**
 * Is the answer right? One rule a kind of task, each exact: an answer counts when it says the same
 * thing as the truth, and a truth inside a longer text counts nothing. The published judges, with
 * their false positives, are the profile "repo" (`judge-repo.ts`).
 */
import { insideBox, box, point, resizedToOriginal, type Point } from "../image/frames.ts";
import { parsePoint } from "../text/points.ts";
import { judgeRepo } from "./judge-repo.ts";
import { letterIndex, type PointTarget, type TaskRecord } from "./record.ts";
import type { AnswerView } from "./trajectory.ts";
import { pointToResized } from "./zoom.ts";

export interface JudgeOptions {
  readonly profile?: "default" | "repo";
  /** How coordinates in the answer are to be read; without it they are original-image pixels. */
  readonly view?: AnswerView | null;
}

/** 1 when `answer` is right, 0 when it is wrong or null. */
export function judge(
  record: Pick<TaskRecord, "kind" | "answer" | "choices">,
  answer: string | null,
  options: JudgeOptions = {},
): number {
  if (answer === null) return 0;
  const view = options.view ?? null;
  if (options.profile === "repo") return judgeRepo(record, answer, view);
  const truth = record.answer;
  if (typeof truth !== "string") return Number(pointIsRight(answer, truth, view));
  switch (record.kind) {
    case "choice":
      return Number(choiceIsRight(answer, truth, record.choices ?? []));
    case "number":
      return Number(numberIsRight(answer, truth));
    case "action":
      return Number(actionMatch(answer, truth).same);
    default:
      return Number(normalise(answer) === normalise(truth));
  }
}

/** The place an answer points to in the original image, or null when it is no point. */
export function answerPoint(answer: string, view: AnswerView | null): Point<"original"> | null {
  const written = parsePoint(answer);
  if (written === null) return null;
  if (view === null) return point("original", written.x, written.y);
  return resizedToOriginal(pointToResized(written, view), view.original, view.resized);
}

/** Whether a point lies in the region: half-open boxes, closed discs. */
export function hitsTarget(at: Point<"original">, target: PointTarget): boolean {
  if ("box" in target) return insideBox(at, box("original", ...target.box));
  const [x, y] = target.point;
  return Math.hypot(at.x - x, at.y - y) <= target.radius;
}

/** One of the five browser actions, its arguments as written. */
export interface BrowserAction {
  readonly verb: "click" | "type" | "scroll" | "go_back" | "stop";
  /** The element's id, the direction, or the final answer. */
  readonly target: string;
  /** What is typed. */
  readonly text: string;
}

/** Parses `click [12]`, `type [12] [text]`, `scroll [down]`, `go_back`, `stop [answer]`. */
export function parseAction(text: string): BrowserAction | null {
  const action = text.trim();
  if (action === "go_back") return { verb: "go_back", target: "", text: "" };
  const plain = /^(click|scroll)\s*\[([^[\]]*)\]$|^(stop)\s*\[(.*)\]$/s.exec(action);
  if (plain !== null) {
    const verb = plain[3] === "stop" ? "stop" : plain[1] === "click" ? "click" : "scroll";
    return { verb, target: plain[2] ?? plain[4], text: "" };
  }
  const typed = /^type\s*\[([^[\]]*)\]\s*\[(.*?)\](?:\s*\[[01]\])?$/s.exec(action);
  return typed === null ? null : { verb: "type", target: typed[1], text: typed[2] };
}

/** Compares two actions: whether the verb agrees, and whether all does. */
export function actionMatch(answer: string, truth: string): { verb: boolean; same: boolean } {
  const said = parseAction(answer);
  const right = parseAction(truth);
  if (said === null || right === null || said.verb !== right.verb)
    return { verb: false, same: false };
  const same =
    normalise(said.target) === normalise(right.target) &&
    normalise(said.text) === normalise(right.text);
  return { verb: true, same };
}

function pointIsRight(answer: string, target: PointTarget, view: AnswerView | null): boolean {
  const at = answerPoint(answer, view);
  return at !== null && hitsTarget(at, target);
}

/** Letter, text, or both: they must mean the option that the truth means. */
function choiceIsRight(answer: string, truth: string, choices: readonly string[]): boolean {
  const right = choiceIndex(truth, choices);
  if (right < 0) return normalise(withoutLetter(answer)) === normalise(withoutLetter(truth));
  return choiceIndex(answer, choices) === right;
}

function choiceIndex(answer: string, choices: readonly string[]): number {
  const texts = choices.map(normalise);
  const exact = texts.indexOf(normalise(answer));
  if (exact >= 0) return exact;
  const letter = letterIndex(answer, choices.length);
  if (letter >= 0) return letter;
  const both = /^\s*\(?([A-Za-z])[.):]\s*(.+)$/s.exec(answer);
  if (both === null) return -1;
  const named = letterIndex(both[1], choices.length);
  return named >= 0 && texts[named] === normalise(both[2]) ? named : -1;
}

function withoutLetter(text: string): string {
  return text.replace(/^\s*\(?[A-Z][.):]\s+(?=\S)/, "");
}

function numberIsRight(answer: string, truth: string): boolean {
  const said = parseNumber(answer);
  const right = parseNumber(truth);
  return Math.abs(said - right) <= 1e-9 * Math.max(1, Math.abs(right));
}

/** The number that a text consists of, thousands grouped by commas or not; NaN for anything else. */
function parseNumber(text: string): number {
  const trimmed = text.trim().replace(/\.$/, "");
  const plain = /^[+-]?(?:\d+(?:\.\d+)?|\.\d+)$/;
  const grouped = /^[+-]?\d{1,3}(?:,\d{3})+(?:\.\d+)?$/;
  if (!plain.test(trimmed) && !grouped.test(trimmed)) return NaN;
  return Number(trimmed.replaceAll(",", ""));
}

/** Case, width, blanks, surrounding quotes and closing punctuation do not matter. */
function normalise(text: string): string {
  const folded = text.normalize("NFKC").toLowerCase().replaceAll(/\s+/g, " ").trim();
  const quote = folded[0];
  const isQuoted = (quote === '"' || quote === "'") && folded.length > 1 && folded.endsWith(quote);
  const bare = isQuoted ? folded.slice(1, -1) : folded;
  let end = bare.length;
  while (end > 0 && ".!? ".includes(bare[end - 1])) end--;
  return bare.slice(0, end).trimStart();
}
