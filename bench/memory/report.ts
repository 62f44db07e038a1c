/** What `bench -- memory` leaves: one JSON file that grows row by row, and a page of the same content. */
import { existsSync, readFileSync } from "node:fs";
import { mkdir } from "node:fs/promises";
import { join } from "node:path";
import { writeFileAtomic } from "../../src/core/files.ts";
import { sizes, ways, type SizeName, type WayName } from "./ways.ts";

export interface MemoryRow {
  readonly size: SizeName;
  /** In its weights. */
  readonly numbers: number;
  readonly way: WayName;
  readonly shares: readonly { readonly what: string; readonly bytes: number }[];
  /** Of all shares. */
  readonly estimateBytes: number;
  readonly peakBytes: number;
}

export interface MemoryReport {
  readonly command: string;
  readonly date: string;
  readonly commit: string;
  readonly machine: Readonly<Record<string, unknown>>;
  readonly rows: readonly MemoryRow[];
}

/** Rows of a report that was written at this commit; none where there is no such report. */
export function rowsAt(folder: string, commit: string): readonly MemoryRow[] {
  const file = join(folder, "memory.json");
  if (!existsSync(file)) return [];
  const report = JSON.parse(readFileSync(file, "utf8")) as MemoryReport;
  return report.commit === commit ? report.rows : [];
}

/** Writes both files, each beside its place and renamed. */
export async function writeMemoryReport(folder: string, report: MemoryReport): Promise<void> {
  await mkdir(folder, { recursive: true });
  const json = `${JSON.stringify(report, null, 2)}\n`;
  await writeFileAtomic(join(folder, "memory.json"), json);
  await writeFileAtomic(join(folder, "memory.md"), memoryPage(report));
}

export function memoryPage({ command, date, commit, machine, rows }: MemoryReport): string {
  const numbers = (size: SizeName): string =>
    `${Math.round((rows.find((row) => row.size === size)?.numbers ?? 0) / 1e6)} million`;
  const used = (Object.keys(sizes) as SizeName[]).filter((size) =>
    rows.some((row) => row.size === size),
  );
  const lines = (Object.keys(ways) as WayName[]).flatMap((way) => {
    const own = used.map((size) => rows.find((row) => row.size === size && row.way === way));
    if (own.every((row) => row === undefined)) return [];
    const cells = own.map((row) =>
      row === undefined
        ? "not run | — | —"
        : [
            gigabytes(row.estimateBytes),
            gigabytes(row.peakBytes),
            (row.peakBytes / row.estimateBytes).toFixed(3),
          ].join(" | "),
    );
    return [`| ${[ways[way].title, ...cells].join(" | ")} |`];
  });
  const head = used.map(
    (size) => `${numbers(size)}: estimate, GB | ${numbers(size)}: peak, GB | peak / estimate`,
  );
  const facts = ["cpu", "cores", "node", "libtorch", "threads"]
    .filter((name) => machine[name] !== undefined)
    .map((name) => `${name} ${String(machine[name])}`);
  return [
    "# Memory on a CPU",
    "",
    "Random weights of two sizes, stored in bfloat16; nothing is fetched. The estimate is what `--dry-run` and every start print; the peak is the most that a process held, by the system's count, from its start to the second step of learning. Sequences fill the slots of the cache and the micro-batches.",
    "",
    `Written by \`${command}\` on ${date}, commit ${commit}: ${facts.join(", ")}.`,
    "",
    `| what | ${head.join(" | ")} |`,
    `| --- |${" --- |".repeat(3 * used.length)}`,
    ...lines,
    "",
  ].join("\n");
}

function gigabytes(bytes: number): string {
  return (bytes / 1e9).toFixed(2);
}
