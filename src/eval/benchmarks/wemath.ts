/**
 * We-Math: problems of several steps, each step asked alone and all of them together. The score looks
 * at groups: does who solves the whole solve its steps, and the other way round.
 */
import { z } from "zod";
import { VigorlError } from "../../core/errors.ts";
import type { Row } from "../../data/rows/row.ts";
import type { ImageSource } from "../../task/record.ts";
import type { Benchmark, Draft, Figure, Figures, Layout, Scored } from "./benchmark.ts";
import { choiceRecord, letterPlace } from "./choice.ts";
import { grouped, micro } from "./figures.ts";
import { byLetter, choicesOf, factText, lettered } from "./judging.ts";
import { cellsOf } from "./load.ts";
import { bare, ours, vigorl, vlmevalkitChoice } from "./protocols.ts";

const cells = z.object({
  ID: z.string(),
  question: z.string(),
  option: z.string(),
  answer: z.string(),
  key: z.string().regex(/^[23]steps_(?:\d|multi)$/),
});

const json: Layout = {
  name: "JSON with images/",
  format: "json",
  files: () => /(?:^|\/)testmini\.json$/,
  read: (row, { picture, index }) =>
    draftOf(row, index, picture(cellsOf(row, z.object({ image_path: z.string() })).image_path)),
};

const parquet: Layout = {
  name: "Parquet of the hub",
  format: "parquet",
  files: () => /(?:^|\/)testmini-[^/]*\.parquet$/,
  pictures: { image_path: "one" },
  read: (row, { index }) => draftOf(row, index, row.pictures("image_path")[0]),
};

function draftOf(row: Row, index: number, image: ImageSource): Draft {
  const { ID, question, option, answer, key } = cellsOf(row, cells);
  const { place } = row;
  const parts = option.split(/;\s*(?=[A-H]\.)/);
  const choices = parts.map((part, i) => {
    const match = /^\s*([A-H])\.\s*([^]*)$/.exec(part);
    if (match === null || letterPlace(match[1]) !== i)
      throw new VigorlError("input", `${place}: option: "${part}" is not option ${i + 1}`);
    return match[2].trim();
  });
  const gold = letterPlace(answer);
  const id = `wemath-${index}`;
  const facts = { group: ID, key };
  return {
    record: choiceRecord({
      id,
      place,
      images: [image],
      question,
      choices,
      gold,
      category: key,
      facts,
    }),
  };
}

/** The official rule: what follows the last "Answer", marks out, its first character. */
function official(text: string): string | null {
  const end = (text.split("Answer").at(-1) ?? "").trim();
  const first = end
    .replaceAll(/[><:.]/g, "")
    .trim()
    .charAt(0);
  return /^[A-H]$/.test(first) ? first : null;
}

interface Group {
  readonly whole: boolean;
  readonly steps: readonly boolean[];
}

/** Groups with all of their questions, whole and steps. */
function groupsOf(scored: readonly Scored[]): Group[] {
  const groups = grouped(scored, ({ record }) => factText(record, "group"));
  return [...groups.values()].flatMap((members) => {
    const isRight = ({ verdict }: Scored) => verdict.score >= 0.5;
    const isWhole = ({ record }: Scored) => factText(record, "key").endsWith("multi");
    const whole = members.find(isWhole);
    const steps = members.filter((member) => !isWhole(member));
    const expected = Number(factText(members[0].record, "key").charAt(0));
    if (whole === undefined || steps.length !== expected) return [];
    return [{ whole: isRight(whole), steps: steps.map(isRight) }];
  });
}

/** Strict: a right whole with a wrong step was learned by rote. Loose: only with all steps wrong. */
function groupFigures(groups: readonly Group[], kind: "strict" | "loose"): Figure[] {
  const n = groups.length;
  const count = (is: (group: Group) => boolean) => groups.filter(is).length;
  const all = ({ steps }: Group) => steps.every(Boolean);
  const mastered = kind === "strict" ? all : ({ steps }: Group) => steps.some(Boolean);
  const complete = count((group) => group.whole && mastered(group));
  const rote = count((group) => group.whole && !mastered(group));
  const generalisation = count((group) => !group.whole && all(group));
  const figure = (name: string, value: number, of = n): Figure => ({
    name: `${kind} ${name}`,
    value,
    n: of,
    mean: "groups",
  });
  const right = complete + rote;
  return [
    figure("score", (complete + 0.5 * generalisation) / Math.max(1, n)),
    figure("complete mastery", complete / Math.max(1, n)),
    figure("inadequate generalisation", generalisation / Math.max(1, n)),
    figure("insufficient knowledge", (n - right - generalisation) / Math.max(1, n)),
    figure("rote memorisation", rote / Math.max(1, right), right),
  ];
}

const figures: Figures = (scored) => {
  const groups = groupsOf(scored);
  const byKey = micro();
  return [...groupFigures(groups, "strict"), ...groupFigures(groups, "loose"), ...byKey(scored)];
};

const question = (record: Scored["record"]) =>
  `${factText(record, "question")}\n${lettered(choicesOf(record))}\nThink first, then give the letter, in this form: <Thought process>: … <Answer>: X`;

export const wemath: Benchmark = {
  name: "wemath",
  title: "We-Math",
  asks: "problems of two and three steps, whole and step by step",
  licence: "CC BY-NC 4.0",
  sources: ["hub: We-Math/We-Math"],
  hub: { repo: "We-Math/We-Math", files: () => /testmini.*\.parquet$/ },
  questions: 1740,
  metric: "strict score over 525 groups",
  splits: ["testmini"],
  layouts: [json, parquet],
  protocols: {
    ours: ours(figures),
    vigorl: vigorl("search", figures),
    official: {
      about: 'the first character behind the last "Answer" and its marks, A to H',
      prompt: bare(question),
      judge: byLetter(official),
      figures,
    },
    vlmevalkit: vlmevalkitChoice(figures),
  },
  published: [
    { who: "Qwen2.5-VL-7B", value: 31.2, where: "reports" },
    { who: "DeepEyes", value: 32.7, where: "reports" },
    { who: "AdaVaR-7B", value: 44.8, where: "reports" },
    { who: "GPT-4o", value: 42.9, where: "reports" },
    { who: "MiMo-VL-7B-RL", value: 66.3, where: "reports" },
  ],
  notes: [
    "Papers rarely say whether their score is strict or loose. Groups that are not whole are left out.",
  ],
};
