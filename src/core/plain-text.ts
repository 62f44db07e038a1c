/**
 * What models, datasets, recipes and servers say, made fit to be shown. A text may hold escapes that
 * move the cursor, retitle the window or write to the clipboard, and marks that turn the reading order
 * round; all of them become U+FFFD. Whatever is written to a terminal, a report or a page goes through
 * here or through what is built on it.
 */

/** Controls but tab and line feed; marks, embeddings, overrides and isolates of reading order; separators. */
const unfit =
  /(?![\t\n])[\p{Cc}\u061c\u200e\u200f\u2028\u2029\u202a-\u202e\u2066-\u2069\ufff9-\ufffb]/gu;

/** A text as people may see it: line breaks and tabs stay, other controls become U+FFFD. */
export function plainText(text: string): string {
  return text.replaceAll("\r\n", "\n").replace(unfit, "\ufffd");
}

/** A text on one line: as `plainText`, with line breaks and tabs as blanks. */
export function plainLine(text: string): string {
  return plainText(text).replaceAll(/[\t\n]/g, " ");
}

/** A text as a piece of Markdown: on one line, and nothing in it is markup, a table's bar included. */
export function markdownText(text: string): string {
  return plainLine(text)
    .replaceAll(/[\\`*_[\]<>|~#]/g, String.raw`\$&`)
    .replaceAll("&", "&amp;");
}

/** A text as a code span of Markdown, whatever backticks are in it. */
export function markdownCode(text: string): string {
  const line = plainLine(text);
  const runs = [...line.matchAll(/`+/g)].map(([run]) => run.length);
  const fence = "`".repeat(Math.max(0, ...runs) + 1);
  const pad = line.startsWith("`") || line.endsWith("`") ? " " : "";
  return `${fence}${pad}${line}${pad}${fence}`;
}

/** A table of Markdown, a header first; columns behind the first `texts` stand to the right. */
export function markdownTable(
  [header, ...rows]: readonly string[][],
  texts = header.length,
): string[] {
  const row = (cells: readonly string[]) => `| ${cells.join(" | ")} |`;
  return [
    row(header.map(markdownText)),
    row(header.map((_, i) => (i < texts ? "---" : "---:"))),
    ...rows.map((cells) => row(cells.map(markdownText))),
  ];
}

/**
 * A table for a terminal, a header first and a rule below it; columns behind the first `texts` stand to
 * the right, and cells are cut to what `most` says of their column.
 */
export function textTable(
  table: readonly string[][],
  texts = table[0].length,
  most: readonly number[] = [],
): string[] {
  const [header, ...rows] = table.map((row) =>
    row.map((cell, i) => cut(plainLine(cell), most[i] ?? Infinity)),
  );
  const widths = header.map((cell, i) =>
    Math.max(cell.length, ...rows.map((row) => row[i].length)),
  );
  const line = (cells: readonly string[]) =>
    cells
      .map((cell, i) => (i < texts ? cell.padEnd(widths[i]) : cell.padStart(widths[i])))
      .join("  ")
      .trimEnd();
  return [line(header), line(widths.map((width) => "─".repeat(width))), ...rows.map(line)];
}

function cut(text: string, width: number): string {
  return text.length <= width ? text : `${text.slice(0, width - 1)}…`;
}

/** One line of JSON that a terminal may show: the same value, its controls written as escapes. */
export function jsonLine(value: unknown): string {
  return JSON.stringify(value).replace(
    unfit,
    (mark) => `\\u${mark.charCodeAt(0).toString(16).padStart(4, "0")}`,
  );
}

/** Escapes a text for element content and attribute values, what XML cannot hold is left out. */
export function escapeXml(value: string): string {
  return (
    value
      // eslint-disable-next-line no-control-regex
      .replaceAll(/[\u0000-\u0008\u000b\u000c\u000e-\u001f\ufffe\uffff\ud800-\udfff]/gu, "")
      .replaceAll("&", "&amp;")
      .replaceAll("<", "&lt;")
      .replaceAll(">", "&gt;")
      .replaceAll('"', "&quot;")
      .replaceAll("'", "&#39;")
  );
}
