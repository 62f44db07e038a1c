/** The page of all metric names, as Markdown formatted by prettier. */
import { format } from "prettier";
import { metricTable } from "../src/train/metrics.ts";

const HEAD = `# Metrics

One line a step in \`metrics.jsonl\`, under these names whatever the verb or the engine; \`sft\` has those that make sense for it. A term of the reward has its own line as soon as it is in the table of terms. This page is written by \`scripts/recipe-docs.ts\` from \`src/train/metrics.ts\`.`;

export async function metricPage(): Promise<string> {
  const rows = Object.entries(metricTable).map(
    ([name, meaning]) => `| \`${name}\` | ${meaning.replaceAll("|", "\\|")} |`,
  );
  const table = ["| metric | meaning |", "| --- | --- |", ...rows].join("\n");
  return format(`${HEAD}\n\n${table}\n`, { parser: "markdown", printWidth: 100 });
}
