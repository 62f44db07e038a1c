/**
 * The command line from outside: what goes in badly comes out as a message that names the place and
 * the fix, with exit code 2, and leaves nothing half-written.
 */
import { execFileSync, spawnSync } from "node:child_process";
import {
  cpSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { join, resolve } from "node:path";
import sharp from "sharp";
import { afterAll, beforeAll, describe, expect, test } from "vitest";

const root = resolve(import.meta.dirname, "..");
const nano = join(root, "models/nano");
let folder: string;

beforeAll(() => {
  folder = mkdtempSync(join(tmpdir(), "vigorl-cli-"));
});
afterAll(() => rmSync(folder, { recursive: true, force: true }));

/** Runs `vigorl` in the test's folder, as the launcher does. */
function vigorl(...args: string[]) {
  const loader = `file://${root}/node_modules/tsx/dist/loader.mjs`;
  const { status, stdout, stderr } = spawnSync(
    process.execPath,
    ["--import", loader, join(root, "src/cli.ts"), ...args],
    { cwd: folder, encoding: "utf8", env: { ...process.env, OMP_NUM_THREADS: "1" } },
  );
  return { status, stdout, stderr };
}

/** A user's mistake: exit code 2, the message, no stack, nothing on stdout. */
function expectMistake(result: ReturnType<typeof vigorl>, message: RegExp) {
  expect(result.stderr).toMatch(message);
  expect(result.stderr).not.toMatch(/\n\s+at /);
  expect(result.stdout).toBe("");
  expect(result.status).toBe(2);
}

/** A model folder like the nano model's, with changes made by `spoil`. */
function modelFolder(name: string, spoil: (folder: string) => void): string {
  const copy = join(folder, name);
  cpSync(nano, copy, { recursive: true });
  spoil(copy);
  return copy;
}

const recipe = (name: string, text: string) => {
  const file = join(folder, `${name}.yaml`);
  writeFileSync(file, text);
  return file;
};

const tiny = `name: tiny
zoom: { windowPx: 8, outputPx: 112, maxTurns: 2, maxImages: 2, maxTokensPerTurn: 8, maxTotalTokens: 64 }
prompts: { style: nano }
data: { train: [{ nano: search, count: 4 }], heldout: [{ nano: search, count: 2 }] }
`;

describe("the command line itself", () => {
  test("knows its verbs, its version and its mistakes", () => {
    expect(vigorl("--help").stdout).toMatch(/demo.*data.*base.*sft.*rl.*eval.*ask.*doctor/s);
    expect(vigorl("--version").stdout.trim()).toMatch(/^\d+\.\d+\.\d+$/);
    expectMistake(vigorl("evl"), /unknown command 'evl'[^]*eval/);
    expectMistake(vigorl("rl", "--resum"), /unknown option '--resum'[^]*--resume/);
  });

  test("doctor speaks JSON", () => {
    const { status, stdout } = vigorl("doctor", "--json");
    expect(status).toBe(0);
    const { findings } = JSON.parse(stdout) as { findings: { name: string; state: string }[] };
    expect(findings.map((finding) => finding.name)).toEqual(
      expect.arrayContaining(["Node", "libtorch", "BLAS", "threads", "devices", "memory", "disk"]),
    );
  });

  test("an error under --json is JSON too", () => {
    const { status, stdout } = vigorl("rl", "missing.yaml", "--json");
    expect(status).toBe(2);
    expect(JSON.parse(stdout)).toMatchObject({
      error: { code: "usage", message: /missing\.yaml/ },
    });
  });

  test("a reader that goes away is no error", () => {
    const script = `"${process.execPath}" --import "file://${root}/node_modules/tsx/dist/loader.mjs" "${root}/src/cli.ts" doctor | head -n 1; echo "\${PIPESTATUS[0]}"`;
    const lines = execFileSync("bash", ["-c", script], { encoding: "utf8", cwd: folder });
    expect(lines).toMatch(/^. Node .*\n0\n$/);
  });
});

describe("recipes", () => {
  test.each([
    [
      "unknown key",
      `${tiny}rl: { groupsise: 4 }\n`,
      /unknown\.yaml:5: unknown key rl\.groupsise; did you mean groupSize\?/,
    ],
    [
      "wrong type",
      `${tiny}rl:\n  groupSize: many\n`,
      /wrong\.yaml:6: rl\.groupSize must be a number \(got "many"\); set it to 8/,
    ],
    ["no YAML", `name: [\n`, /no\.yaml:\d: not valid YAML/],
  ])("%s", (name, text, message) => {
    expectMistake(vigorl("rl", recipe(name.split(" ")[0], text)), message);
    expect(existsSync(join(folder, "runs"))).toBe(false);
  });

  test("a bad override is named by its flag", () => {
    const file = recipe("tiny", tiny);
    expectMistake(
      vigorl("rl", file, "--rl.groupSize=1"),
      /--rl\.groupSize=1: rl\.groupSize must be ≥ 2/,
    );
    expectMistake(vigorl("rl", "nowhere.yaml"), /nowhere\.yaml: no such file\n {2}fix: /);
  });
});
