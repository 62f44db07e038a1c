/** `vigorl ask` from outside: its example, standard input, lists of questions, and what makes one doubt. */
import { spawnSync } from "node:child_process";
import { existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join, resolve } from "node:path";
import { afterAll, beforeAll, expect, test } from "vitest";
import { z } from "zod";
import { makeTinyModel } from "./fixtures/tiny.ts";

const root = resolve(import.meta.dirname, "..");
const loader = `file://${root}/node_modules/tsx/dist/loader.mjs`;
let folder: string;

beforeAll(async () => {
  folder = mkdtempSync(join(tmpdir(), "vigorl-ask-"));
  await makeTinyModel(join(folder, "random"));
});
afterAll(() => rmSync(folder, { recursive: true, force: true }));

function ask(args: readonly string[], input: string | Buffer = "") {
  const all = ["--import", loader, join(root, "src/cli.ts"), "ask", ...args];
  const env = { ...process.env, OMP_NUM_THREADS: "1" };
  return spawnSync(process.execPath, all, { cwd: folder, env, input, encoding: "utf8" });
}

const place = { frame: z.literal("original"), image: z.literal(0), turn: z.int() };
const answerSchema = z.object({
  answer: z.string().nullable(),
  question: z.string(),
  wellFormed: z.boolean(),
  images: z.array(
    z.object({ widthPx: z.int(), heightPx: z.int(), seen: z.object({ widthPx: z.int() }) }),
  ),
  points: z.array(z.object({ ...place, x: z.number(), y: z.number() })),
  boxes: z.array(z.object({ ...place, x0: z.number(), x1: z.number() })),
  crops: z.array(z.object({ widthPx: z.int(), heightPx: z.int() })),
  warnings: z.array(z.string()),
});

test("--example draws a picture that the model was made for, and says sizes and frames", () => {
  const { status, stdout, stderr } = ask(["--example", "--json"]);
  expect([status, stderr]).toEqual([0, ""]);
  const reply = answerSchema.extend({ truth: z.string() }).parse(JSON.parse(stdout));
  expect(reply.images).toMatchObject([{ widthPx: 448, heightPx: 448, seen: { widthPx: 112 } }]);
  expect(reply.warnings).toEqual([]);
  expect(reply.points.length).toBeGreaterThan(0);
  expect(existsSync(join(folder, "example.png"))).toBe(true);
  expect(existsSync(join(folder, "example-looked.png"))).toBe(true);
});

test("a picture by standard input, and a question beyond the model", () => {
  const picture = readFileSync(join(folder, "example.png"));
  const { status, stdout, stderr } = ask(["-", "Where is the cat?", "--json"], picture);
  expect(status).toBe(0);
  expect(stderr).toMatch(/^warning: the model knows \d+ words, and not "cat"/);
  expect(answerSchema.parse(JSON.parse(stdout)).warnings).toHaveLength(1);
});

test("many questions in one start, in their order", () => {
  const line = { id: 7, image: "example.png", question: "Click on the red star." };
  writeFileSync(join(folder, "list.jsonl"), `${JSON.stringify(line)}\n\nWhich digit?\n`);
  const { status, stdout } = ask(["example.png", "--questions", "list.jsonl", "--json"]);
  const [first, second, end] = stdout
    .trim()
    .split("\n")
    .map((text): unknown => JSON.parse(text));
  expect(answerSchema.parse(first).question).toBe("Click on the red star.");
  expect(first).toMatchObject({ id: "7", place: "list.jsonl:1", kind: "point" });
  expect(second).toMatchObject({ id: null, place: "list.jsonl:3", question: "Which digit?" });
  expect(end).toMatchObject({ questions: 2 });
  expect([0, 3]).toContain(status);
});

test("a model that writes no form ends with 3, and says so on stderr", () => {
  const flags = ["--model", "random", "--json", "--episode.maxTokensPerTurn=8"];
  const { status, stdout, stderr } = ask(["example.png", "Which digit?", ...flags]);
  expect(status).toBe(3);
  expect(answerSchema.parse(JSON.parse(stdout))).toMatchObject({ wellFormed: false });
  expect(stderr).toMatch(/^warning: /);
});

test.each([
  [["example.png"], /give a picture and a question/],
  [["--example", "example.png"], /--example brings its own/],
  [["example.png", "a?", "--questions", "list.jsonl"], /not both/],
  [["-", "-"], /cannot both be standard input/],
  [["-", "a?"], /standard input: the picture is empty/],
  [["--questions", "nowhere.jsonl"], /nowhere\.jsonl: /],
  [["--questions", "list.jsonl"], /list\.jsonl:3: names no picture/],
  [["--questions", "-"], /there is no question in the list/],
])("%j is refused", (args, message) => {
  const { status, stderr } = ask(args);
  expect(status).toBe(2);
  expect(stderr).toMatch(message);
});
