/**
 * The package in the hands of others: packs it, installs the archive into an empty folder without
 * install scripts, and uses it there in every way that the documentation promises. The README's and
 * docs/library.md's programs run as written. Ends with 1 at the first way that does not work. Arguments
 * name the ways to try, all by default.
 */
import { execFile } from "node:child_process";
import { mkdir, mkdtemp, readFile, rm, stat, symlink, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { dirname, join, resolve } from "node:path";
import { promisify } from "node:util";

const root = resolve(import.meta.dirname, "..");
const tool = (name: string) => join(root, "node_modules/.bin", name);
const folder = await mkdtemp(join(tmpdir(), "vigorl-package-"));
const maxArchiveBytes = 5_000_000;

/** Every export is there, the light ones come without native code, and a model answers. */
const program = `
import { ask, openModel, openLocalEngine, runEpisode, VigorlError } from "vigorl";
import { judge } from "vigorl/judges";
import { openDataset } from "vigorl/data";
import { openRemoteSampler } from "vigorl/client";
import { writeReport } from "vigorl/report";

async function main(): Promise<void> {
  const all = [openModel, openLocalEngine, runEpisode, openDataset, openRemoteSampler, writeReport];
  if (all.some((one) => typeof one !== "function")) throw new Error("an export is missing");
  const right: number = judge({ kind: "text", answer: "7" }, "7");
  const reply = await ask("picture.png", "which digit is on the red star?", { model: "models/nano" });
  console.log("works", right, reply.stopReason, VigorlError.name, (await reply.drawn()).length);
}
void main();
`;

/** Importing loads no native code. */
const light = (entry: string) => `
process.dlopen = (_, file) => { throw new Error("loads " + file); };
console.log("works", Object.keys(await import("${entry}")).length);
`;

const cases: Record<string, () => Promise<void>> = {
  "archive and install": async () => {
    const [archive] = (await run("npm", ["pack", "--silent", "--pack-destination", folder], root))
      .trim()
      .split("\n");
    const { size } = await stat(join(folder, archive));
    check(size < maxArchiveBytes, `${archive} has ${size} bytes, more than ${maxArchiveBytes}`);
    await write("package.json", '{ "private": true, "type": "module" }\n');
    const flags = ["--ignore-scripts", "--prefer-offline", "--no-audit", "--no-fund", "--silent"];
    await run("npm", ["install", ...flags, `./${archive}`]);
  },
  "command line": async () => {
    const vigorl = join(folder, "node_modules/.bin/vigorl");
    check((await run(vigorl, ["--help"])).includes("Usage: vigorl"), "no help");
    check((await run(vigorl, ["doctor"])).includes("✓ libtorch"), "doctor finds no libtorch");
    await run(vigorl, ["data", "nano", "--count", "1", "--out", "set.jsonl"]);
    const [line] = (await readFile(join(folder, "set.jsonl"), "utf8")).split("\n");
    const { image } = JSON.parse(line) as { image: string };
    await writeFile(join(folder, "picture.png"), await readFile(join(folder, image)));
    await run(vigorl, ["ask", "picture.png", "which digit is on the red star?", "--quiet"]);
    check((await stat(join(folder, "picture-looked.png"))).size > 0, "ask drew nothing");
  },
  "documented programs": async () => {
    for (const page of ["README.md", "docs/library.md"]) {
      const text = await readFile(join(root, page), "utf8");
      const programs = [...text.matchAll(/```ts\n([^]*?)```/g)].map((match) => match[1]);
      check(programs.length > 0, `${page} holds no program`);
      for (const [i, source] of programs.entries()) {
        const name = `${page.replace(/\W/g, "-")}-${i}`;
        await write(`${name}.ts`, source);
        await typed(`${name}.ts`, ["--skipLibCheck", "true"]);
        await run(tool("esbuild"), [`${name}.ts`, "--format=esm", `--outfile=${name}.mjs`]);
        check((await run("node", [`${name}.mjs`])).trim() !== "", `${page}: program ${i} is mute`);
      }
    }
  },
  "modules of one's own": async () => {
    for (const [name, page] of Object.entries(ownModules))
      await write(`own/${name}.ts`, await firstProgram(page));
    await write(
      "own/reward.mjs",
      "export default ({ response }) => [...response].reduce((sum, c) => sum + c.codePointAt(0), 0) % 7;\n",
    );
    await write("own/ts.yaml", ownRecipe("ts"));
    await write("own/js.yaml", ownRecipe("mjs"));
    const vigorl = join(folder, "node_modules/.bin/vigorl");
    const train = (recipe: string) => run(vigorl, ["rl", `own/${recipe}.yaml`, "--quiet"]);
    check((await train("js")).includes("runs/js"), "a reward in JavaScript trains nothing");
    if (!readsTypeScript()) {
      const { code, stderr = "" } = await train("ts").then(
        () => ({ code: 0, stderr: "" }),
        (error: { code: number; stderr?: string }) => error,
      );
      check(code === 2 && stderr.includes("reads no TypeScript"), `without tsx: ${code} ${stderr}`);
      await symlink(join(root, "node_modules/tsx"), join(folder, "node_modules/tsx"));
    }
    check((await train("ts")).includes("runs/ts"), "modules in TypeScript train nothing");
    const trace = (await readFile(join(folder, "runs/ts/traces.jsonl"), "utf8")).split("\n", 1)[0];
    check(trace.includes("Where is the square"), "the questions are not those of the module");
    check(trace.includes('"small":'), "the reward is not that of the module");
  },
  "imports load no native code": async () => {
    for (const entry of ["", "/judges", "/data", "/client", "/report"]) {
      await write("light.mjs", light(`vigorl${entry}`));
      await works("light.mjs");
    }
  },
  "ES module": async () => {
    await write("app.ts", program);
    await run(tool("esbuild"), ["app.ts", "--format=esm", "--outfile=app.mjs"]);
    await works("app.mjs");
  },
  CommonJS: async () => {
    await write("app.cjs", `import("vigorl").then((all) => console.log("works", typeof all.ask));`);
    await works("app.cjs");
  },
  "types, with skipLibCheck": () => typed("app.ts", ["--skipLibCheck", "true"]),
  "types, without": () => typed("app.ts", ["--skipLibCheck", "false"]),
  "esbuild, packages outside": () => bundled(["--format=esm", "--packages=external"], "out.mjs"),
  "esbuild, all in CommonJS": () => bundled(["--format=cjs"], "out.cjs"),
  "esbuild, all in an ES module": () => bundled(["--format=esm", banner], "whole.mjs"),
  "vite, packages outside": () => viteBuilt("[]", "vite-outside"),
  "vite, all in one": () => viteBuilt("true", "vite-whole"),
};

/** Pages whose first program is a module of a user's own. */
const ownModules = {
  reward: "docs/own-reward.md",
  judge: "docs/own-judge.md",
  tool: "docs/own-tool.md",
  task: "docs/own-task.md",
};

function ownRecipe(ending: "ts" | "mjs"): string {
  const more =
    ending === "ts"
      ? "judge: { module: ./judge.ts }\ntools: [./tool.ts]\ndata: { train: [{ module: ./task.ts, count: 8 }] }"
      : "tools: {}\ndata: { train: [{ nano: search, count: 8 }] }";
  return `name: ${ending === "ts" ? "ts" : "js"}
engine: { model: models/nano, memory: { cacheGiB: 1 } }
episode: { maxTurns: 3, maxTokensPerTurn: 48, maxTotalTokens: 160 }
prompts: { style: nano }
${more}
rl: { steps: 1, promptsPerStep: 2, groupSize: 4, parity: { enabled: false }, reward: { module: ./reward.${ending} } }
`;
}

/** Node does from 22.18 on. */
function readsTypeScript(): boolean {
  const [major, minor] = process.versions.node.split(".").map(Number);
  return major > 22 || (major === 22 && minor >= 18);
}

async function firstProgram(page: string): Promise<string> {
  const text = await readFile(join(root, page), "utf8");
  return /```ts\n([^]*?)```/.exec(text)?.[1] ?? "";
}

const banner =
  "--banner:js=import { createRequire as bundleRequire } from 'node:module'; const require = bundleRequire(import.meta.url);";

async function bundled(flags: string[], out: string): Promise<void> {
  const bundle = ["app.ts", "--bundle", "--platform=node", `--outfile=${out}`, ...flags];
  await run(tool("esbuild"), [...bundle, "--log-level=error"]);
  await works(out);
}

async function viteBuilt(noExternal: string, out: string): Promise<void> {
  await write("vite.config.mjs", `export default { ssr: { noExternal: ${noExternal} } };\n`);
  await run(tool("vite"), ["build", "--ssr", "app.ts", "--outDir", out, "--logLevel", "error"]);
  await works(`${out}/app.js`);
}

/** Errors in other packages' own types are theirs; the compiler reports them with their file. */
async function typed(file: string, flags: string[]): Promise<void> {
  const settings = ["--noEmit", "--strict", "--target", "es2022", "--module", "nodenext"];
  const types = ["--types", "node", "--typeRoots", join(root, "node_modules/@types")];
  const words = await run(tool("tsc"), [...settings, ...types, ...flags, file]).catch(
    (error: Error & { stdout?: string }) => error.stdout ?? error.message,
  );
  const ours = words
    .split("\n")
    .filter((line) => /^(?!node_modules)|^node_modules\/vigorl\//.test(line));
  check(
    ours.every((line) => line.trim() === ""),
    words,
  );
}

async function works(file: string): Promise<void> {
  const words = await run("node", [file]);
  check(words.startsWith("works"), `${file} says ${words}`);
}

async function write(name: string, text: string): Promise<void> {
  await mkdir(dirname(join(folder, name)), { recursive: true });
  await writeFile(join(folder, name), text);
}

async function run(command: string, args: string[], cwd = folder): Promise<string> {
  return (await promisify(execFile)(command, args, { cwd, timeout: 300_000 })).stdout;
}

function check(holds: boolean, message: string): void {
  if (!holds) throw new Error(message);
}

try {
  const asked = process.argv.slice(2);
  for (const [i, [name, attempt]] of Object.entries(cases).entries()) {
    if (i > 0 && asked.length > 0 && !asked.includes(name)) continue;
    const start = performance.now();
    try {
      await attempt();
    } catch (error) {
      const { message, stderr = "" } = error as Error & { stderr?: string };
      process.stderr.write(`✗ ${name}: ${message}\n${message.includes(stderr) ? "" : stderr}`);
      process.exitCode = 1;
      break;
    }
    const seconds = ((performance.now() - start) / 1000).toFixed(1);
    process.stdout.write(`✓ ${name.padEnd(30)} ${seconds.padStart(5)} s\n`);
  }
} finally {
  await rm(folder, { recursive: true, force: true });
}
