/**
 * Nothing useful happened never ends with 0: every verb of the table is walked with files and folders that
 * are missing or empty, and ends with 2, a message, and no stack. A verb without a row here fails.
 */
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { Command } from "commander";
import { afterAll, beforeAll, expect, test, vi } from "vitest";
import { runCommandLine } from "../src/cli/frame.ts";
import { makeVerbs } from "../src/cli/verbs.ts";
import { createRunFolder } from "../src/core/run-folder.ts";

let folder: string;
const before = process.cwd();

beforeAll(async () => {
  folder = mkdtempSync(join(tmpdir(), "vigorl-nothing-"));
  for (const name of ["no.jsonl", "no.png", "no.parquet", "no.json"])
    writeFileSync(join(folder, name), "");
  writeFileSync(join(folder, "blank.jsonl"), "\n\n");
  mkdirSync(join(folder, "void"));
  writeFileSync(
    join(folder, "no.yaml"),
    "data: { train: [{ file: no.jsonl }], heldout: [{ file: no.jsonl }] }\n",
  );
  writeFileSync(join(folder, "none.yaml"), "data: { train: [], heldout: [] }\n");
  writeFileSync(join(folder, "empty.yaml"), "recipe: none.yaml\narms: {}\n");
  const run = { verb: "search", name: "bare", seed: 1, recipe: {} };
  await createRunFolder(join(folder, "runs/bare"), run);
  process.chdir(folder);
});
afterAll(() => {
  process.chdir(before);
  rmSync(folder, { recursive: true, force: true });
});

/** Arguments with which there is nothing to do. */
const walks: Readonly<Record<string, readonly (readonly string[])[]>> = {
  demo: [["absent.yaml"], ["no.yaml"], ["none.yaml"]],
  data: [
    [],
    ["check"],
    ["check", "no.jsonl"],
    ["check", "blank.jsonl"],
    ["check", "no.parquet"],
    ["check", "void"],
    ["show", "no.jsonl"],
    ["show", "absent.jsonl"],
    ["split", "no.jsonl"],
    ["split", "blank.jsonl"],
    ["import", "no.jsonl"],
    ["import", "void"],
    ["get"],
    ["get", "no such benchmark"],
    ["nano", "--count", "0"],
  ],
  base: [["absent.yaml"], ["void"]],
  search: [["absent.yaml"], ["no.yaml"], ["none.yaml"]],
  linearize: [["absent"], ["void"], ["runs/bare"], ["no.jsonl"]],
  sft: [["absent.yaml"], ["no.yaml"], ["none.yaml"]],
  rl: [["absent.yaml"], ["no.yaml"], ["none.yaml"]],
  eval: [
    ["absent.yaml"],
    ["no.yaml"],
    ["none.yaml"],
    ["--replay", "void"],
    ["--replay", "runs/bare"],
    ["--compare", "void", "runs/bare"],
    ["--benchmark", "vstar", "--data", "void"],
  ],
  resume: [["absent"], ["void"]],
  runs: [["absent"], ["void"]],
  compare: [
    ["void", "void"],
    ["runs/bare", "runs/bare"],
  ],
  behaviours: [["absent"], ["void"], ["runs/bare"]],
  study: [
    ["export", "absent"],
    ["export", "void"],
    ["export", "runs/bare"],
    ["score", "absent.jsonl"],
    ["score", "no.jsonl"],
  ],
  ablate: [["absent.yaml"], ["no.yaml"], ["void"], ["empty.yaml"]],
  merge: [["absent"], ["void"]],
  ask: [
    ["absent.png", "what?"],
    ["no.png", "what?"],
    ["void", "what?"],
    ["no.png", ""],
  ],
  serve: [["absent"], ["void"], ["--recipe", "absent.yaml"]],
  doctor: [["--no-such-flag"], ["and what?"]],
  completion: [["tcsh"], []],
};

test("every verb is walked", () => {
  const names = makeVerbs().map(({ command }) => command.name());
  expect(Object.keys(walks).sort()).toEqual(names.sort());
});

const cases = Object.entries(walks).flatMap(([verb, rows]) => rows.map((row) => [verb, ...row]));

test.each(cases.map((args) => [args.join(" "), args] as const))("%s", async (_, args) => {
  const { code, stdout, stderr } = await commandLine(args);
  expect([code, stdout]).toEqual([2, ""]);
  // A sentence that names what is wrong, and no stack.
  expect(stderr).toMatch(/\w{3,}.*\w{3,}/);
  expect(stderr).not.toMatch(/\n\s+at .*:\d+/);
});

async function commandLine(args: readonly string[]) {
  const written = { stdout: "", stderr: "" };
  const spies = (["stdout", "stderr"] as const).map((name) =>
    vi.spyOn(process[name], "write").mockImplementation((text) => {
      written[name] += String(text);
      return true;
    }),
  );
  try {
    const code = await runCommandLine(new Command("vigorl"), makeVerbs(), [...args]);
    return { code, ...written };
  } finally {
    for (const spy of spies) spy.mockRestore();
  }
}
