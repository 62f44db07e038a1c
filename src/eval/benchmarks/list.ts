/** The benchmarks as `eval --list` shows them, and as data. */
import { textTable } from "../../core/plain-text.ts";
import type { Benchmark } from "./benchmark.ts";

export interface BenchmarkLine {
  readonly name: string;
  readonly title: string;
  readonly asks: string;
  /** null: no count was verified. */
  readonly questions: number | null;
  readonly metric: string;
  readonly protocols: readonly string[];
  readonly splits: readonly string[];
  readonly licence: string;
  readonly sources: readonly string[];
}

export function benchmarkLine(benchmark: Benchmark): BenchmarkLine {
  const { name, title, asks, questions, metric, protocols, splits, licence, sources } = benchmark;
  return {
    name,
    title,
    asks,
    questions,
    metric,
    protocols: Object.keys(protocols),
    splits,
    licence,
    sources,
  };
}

export function benchmarkList(benchmarks: readonly Benchmark[]): {
  json: { benchmarks: BenchmarkLine[] };
  text: string;
} {
  const lines = benchmarks.map(benchmarkLine);
  const rows = lines.map((line) => [
    line.name,
    line.questions === null ? "?" : String(line.questions),
    line.metric,
    line.protocols.join(", "),
    line.licence,
  ]);
  const header = ["benchmark", "questions", "metric", "protocols", "licence"];
  return { json: { benchmarks: lines }, text: textTable([header, ...rows]).join("\n") };
}
