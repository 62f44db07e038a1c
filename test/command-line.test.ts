/** What the command line says to slips, what its help lists, and what the shell is told. */
import { execFileSync, spawnSync } from "node:child_process";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join, resolve } from "node:path";
import { afterAll, beforeAll, expect, test } from "vitest";

const root = resolve(import.meta.dirname, "..");
const loader = `file://${root}/node_modules/tsx/dist/loader.mjs`;
let folder: string;
beforeAll(() => {
  folder = mkdtempSync(join(tmpdir(), "vigorl-line-"));
  writeFileSync(join(folder, "own.yaml"), "name: own\n");
});
afterAll(() => rmSync(folder, { recursive: true, force: true }));

const vigorl = (...args: string[]) =>
  spawnSync(process.execPath, ["--import", loader, join(root, "src/cli.ts"), ...args], {
    cwd: folder,
    encoding: "utf8",
  });

test.each([
  [["rl", "own.yaml", "--rl.groupSize", "4"], /fix: write --rl\.groupSize=4, without a blank/],
  [["rl", "--rl.groupSize", "--quiet"], /fix: write --rl\.groupSize=…/],
  [["rl", "own.yml"], /own\.yml: no such file\n {2}fix: did you mean own\.yaml\?/],
  [["train", "own.yaml"], /there is no verb "train"\n {2}fix: did you mean \.\/vigorl rl\?/],
  [["evaluate"], /did you mean \.\/vigorl eval\?/],
  [["serv"], /did you mean \.\/vigorl serve\?/],
  [["xyzzyplugh"], /fix: the verbs are demo, data/],
  [["completion", "tcsh"], /shell must be one of bash, zsh, fish \(got tcsh\)/],
])("%j gets its hint", (args, message) => {
  const { status, stderr } = vigorl(...args);
  expect(status).toBe(2);
  expect(stderr).toMatch(message);
});

test("the help of a verb lists the keys that it reads, with default and meaning", () => {
  const { status, stdout } = vigorl("rl", "--help");
  expect(status).toBe(0);
  expect(stdout).toMatch(/\n {2}--rl\.groupSize=\d+ +\S/);
  expect(stdout).toMatch(/--tools\.zoom\.windowPx=364/);
  expect(stdout).not.toMatch(/--sft\./);
});

test("bash completes verbs, flags and keys", () => {
  const script = vigorl("completion", "bash").stdout;
  const complete = (...words: string[]) => {
    const line = `${script}\nCOMP_WORDS=(vigorl ${words.map((word) => `"${word}"`).join(" ")})\nCOMP_CWORD=${words.length}\n_vigorl\nprintf '%s\\n' "\${COMPREPLY[@]}"`;
    return execFileSync("bash", ["-c", line], { cwd: folder, encoding: "utf8" }).trim().split("\n");
  };
  expect(complete("se")).toEqual(["search", "serve"]);
  expect(complete("rl", "--rl.groupS")).toEqual(["--rl.groupSize="]);
  expect(complete("serve", "--max-h")).toEqual(["--max-held"]);
  expect(complete("rl", "ow")).toEqual(["own.yaml"]);
});

test("fish and zsh get scripts of their own", () => {
  expect(vigorl("completion", "zsh").stdout).toMatch(/^autoload -U \+X bashcompinit/);
  const fish = vigorl("completion", "fish").stdout;
  expect(fish).toMatch(/^complete -c vigorl -n __fish_use_subcommand -a demo -d '/);
  expect(fish).toContain("-a '--rl.groupSize='");
});
