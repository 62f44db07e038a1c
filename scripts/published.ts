/**
 * Runs the published code (Gabesarch/grounded-rl) beside ours on seeded inputs, and says where they agree:
 * `node --import tsx scripts/published.ts CHECKOUT [inputs of each kind and style] [seed] [kind]`. PYTHON names the
 * interpreter (default python3; it needs torch, transformers, Pillow and qwen-vl-utils 0.0.11). With
 * `--golden` the inputs and what the published functions gave become the tables of test/published/golden.
 * Ends with 1 where a disagreement has no declared reason, with 2 where nothing could be compared.
 */
import { execFile } from "node:child_process";
import { existsSync, writeFileSync } from "node:fs";
import { join, resolve } from "node:path";
import { parseArgs } from "node:util";
import { stream } from "../src/core/random.ts";
import {
  disagreement,
  goldenOf,
  readOutput,
  type Disagreement,
} from "../test/published/compare.ts";
import { styles, type AnyKind, type Style } from "../test/published/kind.ts";
import { kinds } from "../test/published/kinds.ts";

const { values, positionals } = parseArgs({
  options: { golden: { type: "boolean", default: false } },
  allowPositionals: true,
});
const [checkout, count = "150", seed = "1", name = "all"] = positionals;
const folder = resolve(import.meta.dirname, "../test/published");
const python = process.env.PYTHON ?? "python3";

function say(line: string): void {
  process.stdout.write(`${line}\n`);
}

function refuse(line: string): never {
  process.stderr.write(`${line}\n`);
  process.exit(2);
}

if (checkout === undefined || !existsSync(join(checkout, "src/vlmsearch")))
  refuse(`no checkout of Gabesarch/grounded-rl: name its folder (got ${checkout ?? "nothing"})`);
const chosen = kinds.filter((kind) => name === "all" || kind.name === name);
if (chosen.length === 0)
  refuse(`no kind ${name}; there are: ${kinds.map((kind) => kind.name).join(", ")}`);

/** What the published functions give for these calls, in order. */
function publishedFor(calls: readonly string[]): Promise<unknown[]> {
  return new Promise((settle, fail) => {
    const child = execFile(
      python,
      [join(folder, "oracle.py"), checkout!],
      { maxBuffer: 2 ** 31 - 1 },
      (error, stdout, stderr) => {
        if (error !== null) fail(new Error(`${python} oracle.py: ${stderr || error.message}`));
        else
          settle(
            stdout
              .trimEnd()
              .split("\n")
              .map((line): unknown => JSON.parse(line)),
          );
      },
    );
    child.stdin!.on("error", () => undefined); // it says itself why it ended
    child.stdin!.end(calls.join(""));
  });
}

interface Row {
  readonly style: Style;
  readonly input: unknown;
  readonly published: unknown;
}

async function rowsOf(kind: AnyKind): Promise<Row[]> {
  const inputs = styles.flatMap((style) =>
    Array.from({ length: Number(count) }, (_, i) => ({
      style,
      input: kind.make(stream(Number(seed), "published", kind.name, style, i), style),
    })),
  );
  const calls: string[] = [];
  for (const { input } of inputs)
    calls.push(`${JSON.stringify([kind.name, await kind.ask(input)])}\n`);
  const outputs = await publishedFor(calls);
  return inputs.map((row, i) => ({ ...row, published: readOutput(kind, row.input, outputs[i]) }));
}

interface Tally {
  same: number;
  readonly others: Map<
    string,
    { count: number; readonly first: Disagreement; readonly input: unknown }
  >;
}

let numFaults = 0;
for (const kind of chosen) {
  const rows = await rowsOf(kind);
  const golden: string[] = [];
  for (const style of styles) {
    const tally: Tally = { same: 0, others: new Map() };
    for (const row of rows.filter((one) => one.style === style)) {
      const found = await disagreement(kind, row.input, row.published);
      if (values.golden) golden.push(goldenLine(kind, row, found));
      if (found === null) tally.same++;
      else note(tally, found, row.input);
    }
    report(kind, style, tally);
  }
  if (values.golden)
    writeFileSync(join(folder, "golden", `${kind.name}.json`), `[\n${golden.join(",\n")}\n]\n`);
}
process.exitCode = numFaults === 0 ? 0 : 1;

function goldenLine(kind: AnyKind, row: Row, found: Disagreement | null): string {
  // A digest says nothing of how two differ, so that rows which do hold all of it.
  const published = found === null ? goldenOf(kind, row.published) : row.published;
  const isDigest = kind.isLarge === true && found === null;
  return JSON.stringify({ input: row.input, [isDigest ? "digest" : "published"]: published });
}

function note(tally: Tally, found: Disagreement, input: unknown): void {
  const key = found.reason ?? "UNDECLARED";
  const known = tally.others.get(key);
  if (known === undefined) tally.others.set(key, { count: 1, first: found, input });
  else known.count++;
}

function report(kind: AnyKind, style: Style, { same, others }: Tally): void {
  const share = ((100 * same) / Number(count)).toFixed(2);
  say(`${kind.name}, ${style}: ${same} of ${count} agree (${share} %)`);
  for (const [reason, { count: number, first, input }] of others) {
    say(`  ${number} × ${reason}`);
    if (first.reason !== null) continue;
    numFaults += number;
    say(`    input     ${JSON.stringify(input).slice(0, 1500)}`);
    const [published, ours] = apart(JSON.stringify(first.published), JSON.stringify(first.ours));
    say(`    published ${published}`);
    say(`    ours      ${ours}`);
  }
}

/** Both from a little before they part. */
function apart(a: string, b: string): [string, string] {
  let at = 0;
  while (at < a.length && a[at] === b[at]) at++;
  const from = Math.max(0, at - 200);
  return [a.slice(from, at + 600), b.slice(from, at + 600)];
}
