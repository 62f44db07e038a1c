/**
 * Labels of one's own, from files to a model that others open: examples/own-data in a few steps, and what
 * its checkpoint says of itself to `ask`, `serve` and `eval`.
 */
import { execFile, spawn } from "node:child_process";
import { once } from "node:events";
import { cpSync, existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join, resolve } from "node:path";
import { createInterface } from "node:readline";
import { promisify } from "node:util";
import { afterAll, beforeAll, expect, test, vi } from "vitest";
import { z } from "zod";
import { modelCardSchema } from "../src/task/model-card.ts";

vi.setConfig({ testTimeout: 600_000, hookTimeout: 600_000 });

const root = resolve(import.meta.dirname, "..");
const loader = ["--import", `file://${root}/node_modules/tsx/dist/loader.mjs`];
const env = { ...process.env, OMP_NUM_THREADS: "1" };
let folder: string;
/** What making the pictures, and training, said. */
let made: string;
let trained: string;

async function run(command: string, args: readonly string[]) {
  return promisify(execFile)(command, args, { cwd: folder, env });
}
const vigorl = (...args: string[]) =>
  run(process.execPath, [...loader, join(root, "src/cli.ts"), ...args, "--quiet"]);

/** Few steps of the example, its checkpoint laid aside as somebody would who hands it on. */
beforeAll(async () => {
  folder = mkdtempSync(join(tmpdir(), "vigorl-own-data-"));
  cpSync(join(root, "examples/own-data/recipe.yaml"), join(folder, "recipe.yaml"));
  const make = join(root, "examples/own-data/make.ts");
  made = (await run(process.execPath, [...loader, make, folder])).stdout;
  const few = ["--sft.epochs=1", "--sft.answers.maxExamples=32", "--sft.batchSize=8"];
  const validate = [
    "--sft.validate.every=2",
    "--sft.validate.records=4",
    "--sft.checkpointEvery=4",
  ];
  trained = (await vigorl("sft", "recipe.yaml", ...few, ...validate)).stdout;
  cpSync(join(folder, "runs/own-data/checkpoints/step-4"), join(folder, "exported"), {
    recursive: true,
  });
});
afterAll(() => rmSync(folder, { recursive: true, force: true }));

test("training leaves curves with held-out accuracy, and a model that says what it is for", () => {
  expect(made).toContain("300 pictures");
  expect(trained).toMatch(/trained on the answers of 32 of 210 records: 32 thought\n4 steps/);
  const curves = readFileSync(join(folder, "runs/own-data/curves.svg"), "utf8");
  expect(curves).toContain("validation/accuracy");
  const text = readFileSync(join(folder, "exported/vigorl.json"), "utf8");
  const card = modelCardSchema.parse(JSON.parse(text));
  expect(card.about).toMatch(/Trained by vigorl sft on shapes\.$/);
  expect(card.examples[0]).toBe("What is it?");
  expect(card.settings).toMatchObject({ tools: {}, prompts: { style: "nano" } });
});

test("ask speaks to it as it says, and doubts no question of its kind", async () => {
  const args = ["ask", "pictures/250.png", "What is it?", "--model", "exported", "--json"];
  const { stdout } = await vigorl(...args).catch((error: { code: number; stdout: string }) => {
    // So few steps may leave no form of an answer.
    if (error.code === 3) return error;
    throw error;
  });
  const reply = z.object({ warnings: z.array(z.string()), images: z.array(z.unknown()) });
  const { warnings } = reply.parse(JSON.parse(stdout));
  expect(warnings.filter((one) => /knows|unlike/.test(one))).toEqual([]);
});

test("the page of serve shows it, and its script gets an answer by what it posts", async () => {
  const args = [...loader, join(root, "src/cli.ts"), "serve", "exported", "--port", "0", "--json"];
  const server = spawn(process.execPath, args, {
    cwd: folder,
    env,
    stdio: ["ignore", "pipe", "inherit"],
  });
  try {
    const [line] = (await once(createInterface(server.stdout), "line")) as [string];
    const { url } = z.object({ url: z.string() }).parse(JSON.parse(line));
    const page = await fetch(new URL("/", url));
    expect(page.headers.get("content-type")).toContain("text/html");
    const html = await page.text();
    // What the script asks for and posts is read off the page, so that both change together.
    const asked = [...html.matchAll(/fetch\("([\w/]+)"/g)].map(([, path]) => path);
    expect(asked).toEqual(["v1/models", "v1/ask"]);
    const body =
      /body: JSON\.stringify\(\{ image: picture, question: question\.value, (.*?) \}\)/.exec(html);
    expect(body?.[1]).toBe("stream: true");
    const models = (await (await fetch(new URL(asked[0], page.url))).json()) as {
      data: [{ id: string; vigorl: { about: string; examples: string[] } }];
    };
    expect(models.data[0]).toMatchObject({
      id: "exported",
      vigorl: { examples: expect.arrayContaining(["What is it?"]) as string[] },
    });
    const image = `data:image/png;base64,${readFileSync(join(folder, "pictures/250.png")).toString("base64")}`;
    const response = await fetch(new URL(asked[1], page.url), {
      method: "POST",
      headers: { "content-type": "application/json" },
      body: JSON.stringify({ image, question: "What is it?", stream: true }),
    });
    expect(response.status).toBe(200);
    const events = (await response.text())
      .split("\n\n")
      .filter((part) => part.startsWith("data: {"))
      .map((part) => JSON.parse(part.slice(6)) as Record<string, unknown>);
    // Every figure that the script reads of an answer is there.
    const answer = events.at(-1)!;
    expect(answer.type).toBe("answer");
    const finish = html.slice(html.indexOf("function finish("), html.indexOf("function stroke("));
    const read = new Set([...finish.matchAll(/reply\.(\w+)/g)].map(([, name]) => name));
    expect([...read].filter((name) => !Object.hasOwn(answer, name))).toEqual([]);
    expect(read.size).toBeGreaterThan(5);
    expect(events.some(({ type }) => type === "text")).toBe(true);
  } finally {
    server.kill("SIGKILL");
  }
});

test("eval takes what its recipe does not write from the model, and says so", async () => {
  writeFileSync(
    join(folder, "bare.yaml"),
    "name: bare\ndata: { heldout: [{ file: heldout.jsonl, task: shapes, count: 8 }] }\neval: { temperature: 0, controls: [], traces: 2 }\n",
  );
  const program = [...loader, join(root, "src/cli.ts"), "eval", "bare.yaml", "--model", "exported"];
  const { stderr } = await run(process.execPath, program);
  expect(stderr).toMatch(/episode.*: as .*exported\/vigorl\.json says/);
  const { recipe } = JSON.parse(readFileSync(join(folder, "runs/bare/manifest.json"), "utf8")) as {
    recipe: { prompts: { style: string }; tools: object };
  };
  expect(recipe).toMatchObject({ prompts: { style: "nano" }, tools: {} });
  expect(existsSync(join(folder, "runs/bare/report.html"))).toBe(true);
});

test("the report of the run's own model has its curves", async () => {
  const heldout = "--data.heldout=[{ file: heldout.jsonl, task: shapes, count: 8 }]";
  const args = ["eval", "recipe.yaml", "--model", "runs/own-data", "--name", "evaluated", heldout];
  await vigorl(...args);
  const page = readFileSync(join(folder, "runs/evaluated/report.html"), "utf8");
  expect(page).toContain("<b>held-out accuracy</b>");
});

test("sft.from: search grows trees first, in a run of its own beside", async () => {
  writeFileSync(
    join(folder, "searched.yaml"),
    `name: searched
engine: { model: models/nano, memory: { cacheGiB: 1 } }
tools: { zoom: { windowPx: 8, outputPx: 112 } }
episode: { maxTurns: 3, maxToolImages: 2, maxTokensPerTurn: 64, maxTotalTokens: 256 }
prompts: { style: nano }
data: { train: [{ nano: search, count: 12 }] }
search: { simulations: 4, maxDepth: 3, rolloutSteps: 3 }
linearize: { backtrack: false, layout: inline, maxTurns: 3 }
sft: { from: search, epochs: 1, batchSize: 4 }
`,
  );
  const { stdout } = await vigorl("sft", "searched.yaml");
  expect(stdout).toMatch(/^trained on (\d+) of \1 chains\n\d+ steps/);
  const trees = readFileSync(join(folder, "runs/searched-search/trees.jsonl"), "utf8");
  expect(trees.trim().split("\n")).toHaveLength(12);
  expect(existsSync(join(folder, "runs/searched/checkpoints"))).toBe(true);
});
