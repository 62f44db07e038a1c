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
tools: { zoom: { windowPx: 8, outputPx: 112 } }
episode: { maxTurns: 2, maxToolImages: 1, maxTokensPerTurn: 8, maxTotalTokens: 64 }
prompts: { style: nano }
data: { train: [{ nano: search, count: 4 }], heldout: [{ nano: search, count: 2 }] }
`;

describe("the command line itself", () => {
  test("knows its verbs, its version and its mistakes", () => {
    expect(vigorl("--help").stdout).toMatch(/demo.*data.*base.*sft.*rl.*eval.*ask.*doctor/s);
    expect(vigorl("--version").stdout.trim()).toMatch(/^\d+\.\d+\.\d+$/);
    expectMistake(vigorl("evl"), /there is no verb "evl"[^]*mean \.\/vigorl eval/);
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

  test("what a dataset says reaches the terminal without its escapes", () => {
    const line = {
      id: "a\u202e",
      image: "\x1b]0;owned\x07.png",
      question: "?",
      kind: "text",
      answer: "b",
    };
    writeFileSync(join(folder, "escapes.jsonl"), JSON.stringify(line));
    const { stderr, status } = vigorl("data", "check", "escapes.jsonl");
    expect(status).toBe(2);
    expect(stderr).toMatch(/escapes\.jsonl:1: .*\]0;owned.*image not found/);
    expect(stderr).not.toMatch(/(?!\n)[\p{Cc}\u202e]/u);
    const { stdout } = vigorl("data", "check", "escapes.jsonl", "--json");
    expect(stdout).not.toMatch(/(?!\n)[\p{Cc}\u202e]/u);
    expect(stdout).toContain(String.raw`\u202e`);
  });

  test("a C locale, odd names, no home and nobody at the terminal change nothing", async () => {
    const odd = join(folder, "图 片");
    mkdirSync(odd);
    await sharp({ create: { width: 8, height: 8, channels: 3, background: "red" } })
      .png()
      .toFile(join(odd, "é (1).png"));
    const line = { id: "é", image: "é (1).png", question: "🙂?", kind: "text", answer: "ja" };
    writeFileSync(join(odd, "fragen.jsonl"), JSON.stringify(line));
    const loader = `file://${root}/node_modules/tsx/dist/loader.mjs`;
    const { status, stdout, stderr } = spawnSync(
      process.execPath,
      ["--import", loader, join(root, "src/cli.ts"), "data", "check", "图 片/fragen.jsonl"],
      {
        cwd: folder,
        encoding: "utf8",
        stdio: ["ignore", "pipe", "pipe"],
        env: { PATH: process.env.PATH, LC_ALL: "C", HOME: "/proc" },
      },
    );
    expect(stderr).toBe("");
    expect(stdout).toBe("1 records: 1 text\n");
    expect(status).toBe(0);
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
      /unknown\.yaml:6: unknown key rl\.groupsise; did you mean groupSize\?/,
    ],
    [
      "wrong type",
      `${tiny}rl:\n  groupSize: many\n`,
      /wrong\.yaml:7: rl\.groupSize must be a number \(got "many"\); set it to 8/,
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

describe("what lies outside a run", () => {
  test("stays as it is, whatever a recipe or a flag calls things", () => {
    const home = join(folder, "home");
    mkdirSync(join(home, "victim/model"), { recursive: true });
    writeFileSync(join(home, "victim/model/thesis.txt"), "three years");
    writeFileSync(join(home, "manifest.json"), '{"name": "a web page"}');
    const out = ["--out", join(home, "runs"), "--overwrite"];
    mkdirSync(join(home, "runs"));
    const hostile = recipe(
      "hostile",
      `${tiny.replace("count: 2", 'count: 2, task: "../../../victim"')}`,
    );
    expectMistake(
      vigorl("eval", hostile, ...out),
      /hostile\.yaml:\d: data\.heldout\.0\.task: it must/,
    );
    const file = recipe("outside", tiny);
    expectMistake(vigorl("eval", file, ...out, "--name", ".."), /--name=\.\.: name: it must/);
    expectMistake(
      vigorl("eval", file, "--out", folder, "--overwrite", "--name", "home"),
      /home\/manifest\.json: not the manifest of a run/,
    );
    expectMistake(vigorl("base", "--out", home, "--name=..", "--overwrite"), /name/);
    expect(readFileSync(join(home, "victim/model/thesis.txt"), "utf8")).toBe("three years");
    expect(readdirSync(home).sort()).toEqual(["manifest.json", "runs", "victim"]);
  });
});

describe("images and datasets", () => {
  const ask = (image: string, ...flags: string[]) => vigorl("ask", image, "Which digit?", ...flags);

  test("missing, broken, not an image, enormous", async () => {
    expectMistake(ask("nowhere.png"), /nowhere\.png: /);
    writeFileSync(join(folder, "notes.png"), "this is a text\n");
    expectMistake(ask("notes.png"), /notes\.png: /);
    const whole = await sharp({ create: { width: 64, height: 64, channels: 3, background: "red" } })
      .png()
      .toBuffer();
    writeFileSync(join(folder, "torn.png"), whole.subarray(0, whole.length - 40));
    expectMistake(ask("torn.png"), /torn\.png: /);
    // A PNG of 60,000 × 60,000 pixels is a few kilobytes; decoded it would take 10 GB.
    writeFileSync(join(folder, "bomb.png"), withSize(whole, 60_000));
    expectMistake(ask("bomb.png"), /bomb\.png: .*more than 100,000,000 pixels/);
    expect(readdirSync(folder).filter((name) => name.includes("looked"))).toEqual([]);
  });

  test("published files become datasets, and what is left out is counted", () => {
    const rows = [
      { problem: "<image>Where?", answer: "(1, 2, 30, 40)", images: ["x.png"], source: "web" },
      { problem: "What?", answer: "red", images: ["x.png"], id: "a" },
      { problem: "What?", answer: "blue", images: ["x.png"], id: "a" },
      { problem: "What?", answer: "", images: ["x.png"] },
    ];
    const lines = rows.map((row) => `${JSON.stringify(row)}\n`).join("");
    writeFileSync(join(folder, "rl.jsonl"), lines);
    const take = (...flags: string[]) => vigorl("data", "import", "repo", "rl.jsonl", ...flags);
    const { stdout, status } = take("--images", "pictures", "--out", "sets/own.jsonl", "--json");
    expect(status).toBe(0);
    expect(JSON.parse(stdout)).toEqual({
      file: "sets/own.jsonl",
      count: 3,
      kinds: { point: 1, text: 2 },
      numDropped: 1,
      reasons: { "no answer": 1 },
      dropped: [{ line: 4, reason: "no answer" }],
      droppedFields: { source: 1 },
    });
    const written = readFileSync(join(folder, "sets/own.jsonl"), "utf8").trim().split("\n");
    expect(written.map((line) => JSON.parse(line) as object)).toMatchObject([
      { id: "rl-1", image: "../pictures/x.png", answer: { box: [1, 2, 31, 41] } },
      { id: "a", answer: "red" },
      { id: "rl-3", answer: "blue" },
    ]);
    expectMistake(take(), /which file, and where to/);
    expectMistake(take("--out", "rl.jsonl"), /is the file that is read/);
    expectMistake(take("--out", "o.jsonl", "--layout", "eval"), /none of 4 lines became a record/);
    writeFileSync(join(folder, "rl.jsonl"), '{"text": "?"}\n');
    expectMistake(take("--out", "o.jsonl"), /no published layout \(keys: text\)/);
  });

  test("a dataset is shown as a table and a page, and split by its images", async () => {
    mkdirSync(join(folder, "seen/pictures"), { recursive: true });
    for (const [i, background] of ["red", "lime", "blue", "black"].entries()) {
      const create = { width: 32, height: 24, channels: 3, background } as const;
      const picture = await sharp({ create }).png().toBuffer();
      writeFileSync(join(folder, `seen/pictures/${i}.png`), picture);
      writeFileSync(join(folder, `seen/pictures/${i}-again.png`), picture);
    }
    const lines = Array.from({ length: 8 }, (_, i) => ({
      image: `pictures/${i % 4}${i < 4 ? "" : "-again"}.png`,
      question: i === 0 ? "Click on <b>it</b>." : "Which colour?",
      answer: i === 0 ? { box: [3, 4, 9, 11] } : "red",
      evidence: [{ point: [5, 6] }],
    }));
    const file = "seen/own.jsonl";
    writeFileSync(join(folder, file), lines.map((line) => `${JSON.stringify(line)}\n`).join(""));
    const shown = vigorl("data", "show", file);
    expect(shown.stdout).toMatch(
      /^8 records: 1 point, 7 text; the kind of 8 is guessed\n[^]*own\.html/,
    );
    const page = readFileSync(join(folder, "seen/own.html"), "utf8");
    expect(page).toContain('<rect class="truth" x="3" y="4" width="6" height="7" />');
    expect(page).toContain("Click on &lt;b&gt;it");
    expect(page.match(/<article/g)).toHaveLength(8);
    const { stdout } = vigorl("data", "split", file, "--share", "0.25", "--json");
    expect(JSON.parse(stdout)).toMatchObject({ numTrain: 6, numHeldout: 2, numGroups: 4 });
    const held = readFileSync(join(folder, "seen/own-heldout.jsonl"), "utf8");
    const pictures = [...held.matchAll(/pictures\/(\d)/g)].map((match) => match[1]);
    expect(new Set(pictures).size).toBe(1);
    expectMistake(vigorl("data", "split", file, "--share", "2"), /--share must lie between/);
    expectMistake(vigorl("data", "shwo", file), /did you mean show/);
  });

  test("paths of a recipe are relative to it", () => {
    mkdirSync(join(folder, "project"), { recursive: true });
    writeFileSync(join(folder, "project/lines.jsonl"), "{oops\n");
    const text = "name: project\ndata: { heldout: [{ file: lines.jsonl }] }\n";
    writeFileSync(join(folder, "project/own.yaml"), text);
    expectMistake(vigorl("eval", "project/own.yaml"), /project\/lines\.jsonl:1: /);
  });

  test("a dataset line that does not parse, is no record, or names no image", () => {
    const good = JSON.stringify({
      id: "a",
      image: "x.png",
      question: "?",
      kind: "text",
      answer: "b",
    });
    const check = (...lines: string[]) => {
      writeFileSync(join(folder, "set.jsonl"), lines.map((line) => `${line}\n`).join(""));
      return vigorl("data", "check", "set.jsonl");
    };
    expectMistake(check(good, "{oops"), /set\.jsonl:2: /);
    expectMistake(check(good, '{"id": "b"}'), /set\.jsonl:2: .*question/);
    expectMistake(check(good.replace("x.png", "nowhere.png")), /nowhere\.png/);
    expectMistake(check(good, good), /two records have the id "a"/);
    const broken = recipe("lines", `name: lines\ndata: { heldout: [{ file: set.jsonl }] }\n`);
    writeFileSync(join(folder, "set.jsonl"), "{oops\n");
    expectMistake(vigorl("eval", broken), /set\.jsonl:1: /);
    expect(existsSync(join(folder, "runs/lines"))).toBe(false);
  });
});

describe("a full disk", () => {
  const mount = join(tmpdir(), `vigorl-full-${process.pid}`);
  const mounted = process.getuid?.() === 0 && mountTiny(mount);
  afterAll(() => {
    if (mounted) spawnSync("umount", [mount]);
    rmSync(mount, { recursive: true, force: true });
  });

  test.skipIf(!mounted)("leaves no dataset and no run behind (needs root, to mount one)", () => {
    const out = join(mount, "set.jsonl");
    expectMistake(
      vigorl("data", "nano", "--count", "20", "--out", out),
      /the disk is full \(ENOSPC\)\n {2}fix: /,
    );
    expect(existsSync(out)).toBe(false);
    rmSync(join(mount, "images"), { recursive: true, force: true });
    const file = recipe("full", tiny.replace("name: tiny", "name: full"));
    const result = vigorl("eval", file, "--out", join(mount, "runs"));
    expectMistake(result, /the disk is full \(ENOSPC\)/);
    const left = readdirSync(mount, { recursive: true, encoding: "utf8" });
    expect(left.filter((name) => /report|outcomes|writing/.test(name))).toEqual([]);
  });
});

describe("model folders", () => {
  test("missing, without a tokenizer, truncated, with a foreign header", () => {
    const file = recipe("models", tiny.replace("name: tiny", "name: models"));
    expectMistake(vigorl("eval", file, "--model", "nowhere"), /nowhere: no such model folder/);
    const mute = modelFolder("mute", (copy) => rmSync(join(copy, "tokenizer.json")));
    expectMistake(vigorl("eval", file, "--model", mute), /tokenizer\.json: missing/);
    const torn = modelFolder("torn", (copy) => {
      const weights = join(copy, "model.safetensors");
      writeFileSync(weights, readFileSync(weights).subarray(0, 100_000));
    });
    expectMistake(vigorl("eval", file, "--model", torn, "--name", "torn"), /model\.safetensors: /);
    const hostile = modelFolder("hostile", (copy) => {
      writeFileSync(join(copy, "model.safetensors"), Buffer.alloc(64, 0xff));
    });
    expectMistake(
      vigorl("eval", file, "--model", hostile, "--name", "hostile"),
      /model\.safetensors: /,
    );
    expect(existsSync(join(folder, "runs"))).toBe(false);
  });
});

/** A file system of 8 KiB; false where this machine does not let us. */
function mountTiny(place: string): boolean {
  mkdirSync(place, { recursive: true });
  return spawnSync("mount", ["-t", "tmpfs", "-o", "size=8k", "tmpfs", place]).status === 0;
}

/** The PNG with another width and height in its header, and the header's checksum made right again. */
function withSize(png: Buffer, side: number): Buffer {
  const copy = Buffer.from(png);
  copy.writeUInt32BE(side, 16);
  copy.writeUInt32BE(side, 20);
  copy.writeUInt32BE(crc32(copy.subarray(12, 29)), 29);
  return copy;
}

function crc32(bytes: Uint8Array): number {
  let crc = 0xffffffff;
  for (const byte of bytes) {
    crc ^= byte;
    for (let bit = 0; bit < 8; bit++) crc = (crc >>> 1) ^ (crc & 1 ? 0xedb88320 : 0);
  }
  return (crc ^ 0xffffffff) >>> 0;
}
