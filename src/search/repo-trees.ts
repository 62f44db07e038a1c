/**
 * Tree files of the reference repository: records with a nested tree whose rollouts carry all their
 * texts, read into our trees. Coordinates in them are taken as pixels of the image as the model sees it; who knows better gives
 * the image's view.
 */
import { z } from "zod";
import { VigorlError } from "../core/errors.ts";
import { ioError } from "../core/files.ts";
import { parseAt } from "../core/jsonl.ts";
import { readText } from "../core/regular-file.ts";
import { defaultTags } from "../text/tags.ts";
import { scanPoints } from "../text/points.ts";
import { pythonStrip } from "../text/python.ts";
import type { KindName } from "../task/kinds.ts";
import { correctReward, walk, type NodeLine, type StepLine, type TreeLine } from "./tree-line.ts";

const rolloutSchema = z.looseObject({
  final_answer: z.string().nullable().default(null),
  /** Web rewards may be booleans. */
  reward: z.union([z.number(), z.boolean()]).transform(Number),
  ephemeral_texts: z.array(z.string()).default([]),
});
export type RepoRollout = z.infer<typeof rolloutSchema>;

export interface RepoNode {
  thought_text: string;
  is_terminal: boolean;
  value: number;
  visit_count: number;
  rollouts: RepoRollout[];
  children: RepoNode[];
}

const nodeSchema: z.ZodType<RepoNode> = z.lazy(() =>
  z.looseObject({
    thought_text: z.string(),
    is_terminal: z.boolean().default(false),
    value: z.number().default(0),
    visit_count: z.int().default(0),
    rollouts: z.array(rolloutSchema).default([]),
    children: z.array(nodeSchema).default([]),
  }),
);

export const repoRecordSchema = z.looseObject({
  id: z.union([z.string(), z.number()]).transform(String),
  question: z.string(),
  image: z.string().default(""),
  true_answer: z.string().default(""),
  tree: nodeSchema,
  global_search_time: z.number().default(0),
});
export type RepoRecord = z.infer<typeof repoRecordSchema>;

/**
 * Reads a file of the reference search, all lines of it; lines that report an error are counted.
 * @throws VigorlError("input") naming `file:line` at the first bad line, "io" without the file.
 */
export async function readRepoTrees(
  file: string,
): Promise<{ records: RepoRecord[]; numErrors: number }> {
  const text = await readText(file).catch((error: unknown) => {
    throw ioError(error, file);
  });
  const records: RepoRecord[] = [];
  let numErrors = 0;
  for (const [i, line] of text.split("\n").entries()) {
    if (line.trim() === "") continue;
    const place = `${file}:${i + 1}`;
    const value = parseJson(place, line);
    if (isErrorLine(value)) numErrors++;
    else records.push(parseAt(place, value, repoRecordSchema));
  }
  return { records, numErrors };
}

/** A tree of the reference search as one of ours; `kind` and `view` are what its record does not say. */
export function fromRepoRecord(
  record: RepoRecord,
  about: { readonly kind: KindName; readonly view?: TreeLine["view"] },
): TreeLine {
  const question = withoutImageTag(record.question);
  const root = nodeFromRepo(record.tree, "r", 0, record);
  const nodes = Array.from(walk(root), (path) => path[path.length - 1]);
  const answered = nodes.flatMap(({ rollouts }) =>
    rollouts.filter(({ answer }) => answer !== null),
  );
  return {
    version: 2,
    recordId: record.id,
    question,
    kind: about.kind,
    truth: record.true_answer,
    category: null,
    view: about.view ?? null,
    dialect: "vigorl",
    steps: "packed",
    root,
    stop: "simulations",
    simulations: 0,
    numNodes: nodes.length,
    numCorrect: answered.filter(({ reward }) => reward >= correctReward).length,
    numCalls: 0,
    numTokens: { prompt: 0, model: 0 },
    settings: null,
    seed: 0,
    sampler: "unknown",
    seconds: record.global_search_time,
  };
}

export const IMAGE_TAG = "<image>";

/** Removes the tags of a kind from a text; what stands between them stays. */
export function removeTags(text: string, kinds: readonly ("think" | "answer")[]): string {
  return kinds
    .flatMap((kind) => [defaultTags[kind].open, defaultTags[kind].close])
    .reduce((rest, tag) => rest.replaceAll(tag, ""), text);
}

function nodeFromRepo(node: RepoNode, id: string, depth: number, record: RepoRecord): NodeLine {
  return {
    id,
    step: depth === 0 ? null : stepFromRepo(node.thought_text, node.is_terminal),
    visits: node.visit_count,
    value: node.value,
    expansions: node.children.length > 0 ? 1 : 0,
    dropped: {},
    rollouts: node.rollouts.map((rollout) => {
      const texts = thoughtsBehind(rollout, depth, record);
      const steps = texts.map((text, i) =>
        stepFromRepo(text, i === texts.length - 1 && isAnswer(text)),
      );
      const answer = node.is_terminal
        ? pythonStrip(removeTags(node.thought_text, ["answer"]))
        : (steps.at(-1)?.answer ?? null);
      // A thought that was judged keeps its reward for the published builder; ours asks for an answer.
      const { reward } = rollout;
      return { steps, answer, reward, end: answer === null ? "stepLimit" : "answered" };
    }),
    children: node.children.map((child, i) => nodeFromRepo(child, `${id}.${i}`, depth + 1, record)),
  };
}

/** The texts of a rollout without the question and the way to its node. */
function thoughtsBehind(
  { ephemeral_texts: texts }: RepoRollout,
  depth: number,
  record: RepoRecord,
): string[] {
  const [first = ""] = texts;
  const hasQuestion =
    isQuestion(first) || first === record.question || first === record.tree.thought_text;
  return texts.slice((hasQuestion ? 1 : 0) + depth);
}

/** A thought keeps its think tags in these files; an answer has none, or answer tags. */
function isAnswer(text: string): boolean {
  return text.includes(defaultTags.answer.open) || !text.includes(defaultTags.think.open);
}

/** Whether the published builder takes a first text for the question. */
function isQuestion(text: string): boolean {
  return text.startsWith(IMAGE_TAG) || text.endsWith(IMAGE_TAG);
}

function stepFromRepo(text: string, answers: boolean): StepLine {
  const think = answers ? "" : pythonStrip(removeTags(text, ["think"]));
  return {
    text,
    think,
    points: scanPoints(think).map(({ x, y }) => ({ picture: 0, x, y })),
    toolUse: null,
    picture: null,
    answer: answers ? pythonStrip(removeTags(text, ["answer"])) : null,
    forced: false,
    numTokens: 0,
  };
}

function withoutImageTag(question: string): string {
  return question.replaceAll(IMAGE_TAG, "").trim();
}

function isErrorLine(value: unknown): boolean {
  return typeof value === "object" && value !== null && "error" in value && Boolean(value.error);
}

function parseJson(place: string, line: string): unknown {
  try {
    return JSON.parse(line);
  } catch (error) {
    throw new VigorlError("input", `${place}: not a JSON value`, { cause: error });
  }
}
