/** docs/benchmarks.md, from the table of benchmarks. */
import { format } from "prettier";
import { markdownText } from "../src/core/plain-text.ts";
import type { Benchmark, Protocol, PublishedFigure } from "../src/eval/benchmarks/benchmark.ts";
import { benchmarks } from "../src/eval/benchmarks/table.ts";

const head = `# Published benchmarks

Written from the code by \`scripts/recipe-docs.ts\`.

\`vigorl eval --benchmark NAME --data FOLDER\` asks a published benchmark and reports it as its protocol counts. \`--protocol\` chooses how questions are put and replies scored; \`ours\` is the default. \`vigorl eval --list\` shows all of them; [why numbers differ](why-numbers-differ.md) says what a protocol changes. In a recipe a benchmark is a source of \`data.heldout\`: \`{benchmark: vstar, folder: data/vstar, protocol: ours}\`.

The folder holds the files as they are published: Parquet, VLMEvalKit's TSV (a picture may be that of another row, or several in one cell), JSON or JSON lines with pictures beside them, or folders of configurations. The first layout in the list of a benchmark that the folder has files of is read. Pictures are read when a question is asked. A row that does not have its layout stops the run with its place. Boxes are brought to pixels of the original, from the one convention in which all of them lie in their pictures; where none fits, the rows that do not are named, and a box that merely reaches over the edge is told in the report.

What a protocol reads: \`ours\` and \`vigorl\` judge what stands in the answer tags. The rules of other programs get the same text, or, where a reply has no tags, its last turn without the thought; rules that look for tags get the whole last turn. Where a published rule draws at random, its average is counted; where it asks a language model, the reply counts as wrong without one; both are counted in the report. Prompts are in our words except for short fixed instructions, and a bare prompt is one user message without a system prompt or tools.

Counts that no source confirmed are left open, and figures in print are those of their authors, to stand beside ours, not measured here.
`;

/** The page, formatted. */
export async function benchmarkPage(): Promise<string> {
  const list = [
    "| name | benchmark | questions | metric | protocols | licence |",
    "| --- | --- | ---: | --- | --- | --- |",
    ...benchmarks.map((one) =>
      row([
        `[\`${one.name}\`](#${one.name})`,
        markdownText(one.title),
        one.questions === null ? "open" : String(one.questions),
        markdownText(one.metric),
        Object.keys(one.protocols).join(", "),
        markdownText(one.licence),
      ]),
    ),
  ];
  const text = [head, ...list, "", ...benchmarks.flatMap(section)].join("\n");
  return format(text, { parser: "markdown", printWidth: 100 });
}

function section(benchmark: Benchmark): string[] {
  const { name, title, asks, sources, splits, layouts, protocols, notes, published } = benchmark;
  const facts = [
    `Source: ${sources.map(markdownText).join("; ")}. Splits: ${splits.join(", ")}. Layouts: ${layouts
      .map((layout) => markdownText(layout.name))
      .join("; ")}.`,
  ];
  return [
    `## ${name}`,
    "",
    `${markdownText(title)}: ${markdownText(asks)}. ${facts.join(" ")}`,
    "",
    ...notes.map((note) => `- ${markdownText(note)}`),
    "",
    "| protocol | prompt | pictures | right is | language model |",
    "| --- | --- | --- | --- | --- |",
    ...Object.entries(protocols).map(([key, protocol]) => protocolRow(key, protocol)),
    "",
    ...(published.length === 0
      ? []
      : [
          "| in print | points | where |",
          "| --- | ---: | --- |",
          ...published.map((figure) => publishedRow(figure)),
          "",
        ]),
  ];
}

function protocolRow(name: string, { prompt, pixels = {}, about, llm }: Protocol): string {
  const bounds = Object.entries(pixels).map(([key, value]) => `${key} ${value}`);
  return row([
    name,
    prompt.form === "recipe" ? "the recipe's" : "bare",
    bounds.length === 0 ? "the recipe's" : bounds.join(", "),
    markdownText(about),
    llm === undefined
      ? ""
      : markdownText(`${llm.model}, for ${llm.when === "always" ? "all" : "what is not read"}`),
  ]);
}

function publishedRow({ who, what, value, plusMinus, where }: PublishedFigure): string {
  const shown = plusMinus === undefined ? String(value) : `${value} ± ${plusMinus}`;
  return row([
    markdownText(what === undefined ? who : `${who}, ${what}`),
    shown,
    markdownText(where),
  ]);
}

function row(cells: readonly string[]): string {
  return `| ${cells.join(" | ")} |`;
}
