/** What `bench -- gpu` leaves: one JSON file that grows row by row, and a page of the same content. */
import { mkdir } from "node:fs/promises";
import { join } from "node:path";
import { writeFileAtomic } from "../../src/core/files.ts";

export type Figures = Readonly<Record<string, number>>;

export interface Row {
  readonly name: string;
  /** What is done, for people. */
  readonly title: string;
  readonly status: "measured" | "failed" | "not run";
  readonly ours?: Figures;
  readonly peer?: Figures;
  /** Why there are no figures, or why the peer has none. */
  readonly why?: string;
  readonly peerWhy?: string;
  /** That it took, all in all. */
  readonly seconds?: number;
}

export interface Report {
  readonly command: string;
  readonly date: string;
  readonly commit: string;
  readonly small: boolean;
  readonly machine: Readonly<Record<string, unknown>>;
  readonly peer: Readonly<Record<string, string>> | null;
  readonly rows: readonly Row[];
}

/** Writes both files, each beside its place and renamed. */
export async function writeReport(folder: string, report: Report): Promise<void> {
  await mkdir(folder, { recursive: true });
  await writeFileAtomic(join(folder, "gpu.json"), `${JSON.stringify(report, null, 2)}\n`);
  await writeFileAtomic(join(folder, "gpu.md"), page(report));
}

/** The units in which figures are written on the page; by their names. */
const units: Readonly<Record<string, string>> = {
  gigabytesPerSecond: "GB/s",
  teraflops: "TFLOP/s",
  tokensPerSecond: "tokens a second",
  writtenTokensPerSecond: "written tokens a second",
  secondsPerStep: "s a step",
  sampleSeconds: "s sampling",
  learnSeconds: "s learning",
  stepMs: "ms a decode step",
  mfu: "MFU of the card's 989 TFLOP/s",
  ofMatmul: "of the measured matmul rate",
  bandwidthShare: "of the measured bandwidth",
  peakGigabytes: "GB at the peak",
  loss: "loss of the first step",
};

export function page(report: Report): string {
  const { machine, rows } = report;
  const facts = ["gpu", "libtorch", "cpu", "cores", "node"]
    .filter((name) => machine[name] !== undefined)
    .map((name) => `${name} ${String(machine[name])}`);
  const peer =
    report.peer === null ? [] : Object.entries(report.peer).map((pair) => pair.join(" "));
  const lines = [
    "# On a GPU",
    "",
    report.small
      ? "A run of the small configuration: it shows that the code runs, and says nothing about speed."
      : "Random weights at the sizes of Qwen2.5-VL-3B, bfloat16; nothing is fetched.",
    "",
    `Written by \`${report.command}\` on ${report.date}, commit ${report.commit}: ${facts.join(", ")}.${
      peer.length === 0 ? "" : ` Beside it in Python: ${peer.join(", ")}.`
    }`,
    "",
    "| what | ours | the same in Python |",
    "| --- | --- | --- |",
    ...rows.map((row) => `| ${row.title} | ${ours(row)} | ${theirs(row)} |`),
    "",
    "MFU counts two floating-point operations a weight and position forward and four backward (two with LoRA, whose weights are frozen), the head at the learned positions alone and half of the square of attention, over the 989 TFLOP/s that the data sheets of H100 and H200 give for bfloat16. The bytes of a decode step are the weights of language model and head once and the keys and values of every sequence. Tokens of training are positions, pictures included.",
    "",
  ];
  return lines.join("\n");
}

function ours({ status, ours: figures, why }: Row): string {
  if (figures !== undefined) return shown(figures);
  return cell(`${status}: ${why ?? "no reason given"}`);
}

function theirs({ peer, peerWhy }: Row): string {
  return peer === undefined ? cell(peerWhy ?? "—") : shown(peer);
}

function shown(figures: Figures): string {
  return Object.entries(figures)
    .map(([name, value]) => `${format(value)} ${units[name] ?? name}`)
    .join("; ");
}

function format(value: number): string {
  if (value >= 1000) return Math.round(value).toLocaleString("en-US");
  return String(Number(value.toPrecision(3)));
}

/** The first sentence: the whole stands in the JSON file. */
function cell(text: string): string {
  const [first] = text.trim().split(/\n|(?<=\w)\. /);
  return first.replaceAll("|", "\\|").replaceAll(/\s+/g, " ");
}
