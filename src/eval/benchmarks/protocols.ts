/** Protocols that many benchmarks have, made from what differs between them. */
import type { Figures, Prompt, Protocol } from "./benchmark.ts";
import { byLetter, choicesOf, factText, oursJudge, vigorlJudge } from "./judging.ts";
import { vlmevalkitLetter, vlmevalkitQuestion } from "./rules/vlmevalkit.ts";
import type { TaskRecord } from "../../task/record.ts";

type Question = Prompt["question"];

const asRecorded: Question = ({ question }) => question;

/** In the recipe's words and with its tools. */
export function inRecipe(question: Question = asRecorded): Prompt {
  return { form: "recipe", question };
}

/** As one user message. */
export function bare(question: Question = asRecorded): Prompt {
  return { form: "bare", question };
}

/** The record's question as published, kept as `facts.question`, with a line behind it. */
export function publishedQuestion(suffix = ""): Question {
  return (record: TaskRecord) => {
    const question = record.facts?.question;
    const text = typeof question === "string" ? question : record.question;
    return suffix === "" ? text : `${text}\n${suffix}`;
  };
}

/** Strict and sound: by the rule of the record's kind, whatever the benchmark. */
export function ours(figures: Figures, changes: Partial<Protocol> = {}): Protocol {
  return {
    about: "the recipe's prompt and tools; the answer in tags, by the rule of its kind",
    prompt: inRecipe(),
    judge: oursJudge,
    figures,
    ...changes,
  };
}

/** As the paper evaluated: its pixel bounds by domain, its judges. */
export function vigorl(
  domain: "spatial" | "web" | "search",
  figures: Figures,
  changes: Partial<Protocol> = {},
): Protocol {
  return {
    about:
      "the recipe's prompt and tools; the published judge, to which a truth inside the answer is right and a point has to be two whole numbers",
    prompt: inRecipe(),
    pixels: domain === "spatial" ? { maxSide: 1260 } : { maxPixels: 12_960_000 },
    judge: vigorlJudge,
    figures,
    ...changes,
  };
}

/** Bounds of pictures in pixels that the harnesses use for Qwen2.5-VL. */
export const harnessPixels = {
  "lmms-eval": { minPixels: 200_704, maxPixels: 1_605_632 },
  vlmevalkit: { minPixels: 1_003_520, maxPixels: 12_845_056 },
} as const;

/** As VLMEvalKit asks and reads a choice. `question` is the text before the options. */
export function vlmevalkitChoice(
  figures: Figures,
  question: Question = (record) => factText(record, "question"),
): Protocol {
  return {
    about: "a lone option letter near the end, or the only option text in a short reply",
    prompt: bare((record) => vlmevalkitQuestion(question(record), choicesOf(record))),
    pixels: harnessPixels.vlmevalkit,
    judge: byLetter(vlmevalkitLetter),
    figures,
  };
}
