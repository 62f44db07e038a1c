/**
 * What the judges of benchmarks share. "ours" and "vigorl" are the judges of the record's kind; the
 * rules of other programs read the text that the model gave as its answer, or, where it gave none in
 * tags, its last turn without the thought: none of them knows our tags, and that is what they would be
 * given.
 */
import { z } from "zod";
import { judge } from "../../task/judge.ts";
import type { TaskRecord } from "../../task/record.ts";
import type { Protocol, Reply, Verdict } from "./benchmark.ts";

type Judge = Protocol["judge"];

/** By the rule of the record's kind; without an answer nothing is right. */
export const oursJudge: Judge = (record, { answer, view }) =>
  answer === null ? unread : readAs(answer, judge(record, answer, { view }));

/** By the published code of ViGoRL: a truth inside the answer counts, bounds are inclusive. */
export const vigorlJudge: Judge = (record, { answer, view }) =>
  answer === null ? unread : readAs(answer, judge(record, answer, { profile: "repo", view }));

/** What other programs are given of a reply. */
export function said({ text, answer }: Pick<Reply, "text" | "answer">): string {
  return answer ?? text.replace(/^[^]*<\/think>/, "");
}

export const unread: Verdict = { score: 0, read: null, how: "unread" };

export function readAs(read: string, isRight: boolean | number): Verdict {
  return { score: Number(isRight), read, how: "read" };
}

/** What an extractor of letters finds: a letter, nothing, a draw by chance, or work for a language model. */
export type Letter = string | null | { readonly drawn: true } | { readonly llm: true };

/** Judges by the letter that `extract` finds in what was said. */
export function byLetter(extract: (text: string, record: TaskRecord) => Letter): Judge {
  return (record, reply) => {
    const found = extract(said(reply), record);
    if (found === null || found === "") return unread;
    if (typeof found === "string") return readAs(found, found === goldLetter(record));
    if ("llm" in found) return { score: 0, read: null, how: "llm" };
    return { score: 1 / Math.max(1, choicesOf(record).length), read: null, how: "chance" };
  };
}

const goldSchema = z.looseObject({ gold: z.int().min(0) });

/** Place of the right option of a record with choices, from 0. */
export function goldIndex({ id, facts }: TaskRecord): number {
  const parsed = goldSchema.safeParse(facts);
  if (parsed.success) return parsed.data.gold;
  throw new Error(`record ${id} has no facts.gold`);
}

export function goldLetter(record: TaskRecord): string {
  return letterOf(goldIndex(record));
}

export function choicesOf({ choices = [] }: TaskRecord): readonly string[] {
  return choices;
}

/** Letters of a record's options. */
export function lettersOf(record: TaskRecord): string[] {
  return choicesOf(record).map((_, i) => letterOf(i));
}

export function letterOf(index: number): string {
  return String.fromCharCode(65 + index);
}

/** Options a line each: `A. red`. */
export function lettered(choices: readonly string[], mark = (letter: string) => `${letter}. `) {
  return choices.map((choice, i) => `${mark(letterOf(i))}${choice}`).join("\n");
}

/** A text of a record's facts. */
export function factText({ id, facts }: TaskRecord, name: string): string {
  const value = facts?.[name];
  if (typeof value === "string") return value;
  throw new Error(`record ${id} has no facts.${name}`);
}

/** Numbers of a record's facts. */
export function factNumbers({ id, facts }: TaskRecord, name: string): readonly number[] {
  const parsed = z.array(z.number()).safeParse(facts?.[name]);
  if (parsed.success) return parsed.data;
  throw new Error(`record ${id} has no numbers facts.${name}`);
}

/** Texts of a record's facts; none where there are none. */
export function factTexts({ facts }: TaskRecord, name: string): readonly string[] {
  const parsed = z.array(z.string()).safeParse(facts?.[name]);
  return parsed.success ? parsed.data : [];
}

/** The answer of a record whose kind has texts for truths. */
export function goldText({ id, answer }: TaskRecord): string {
  if (typeof answer === "string") return answer;
  throw new Error(`record ${id} has a region for an answer`);
}
