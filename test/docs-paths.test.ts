/**
 * Paths that the pages name are there: in the checkout, or made by a command that stands before them. The
 * README's commands come first, then those of the page itself. What the reader brings is listed here.
 */
import { existsSync, readdirSync, readFileSync } from "node:fs";
import { dirname, join, resolve } from "node:path";
import { expect, test } from "vitest";
import { loadConfig } from "../src/core/config.ts";
import { baseRecipeSchema } from "../src/nano/base-recipe.ts";
import { loadRecipe } from "../src/recipe.ts";

const root = resolve(import.meta.dirname, "..");
const pages = [
  "README.md",
  ...readdirSync(join(root, "docs"))
    .filter((name) => name.endsWith(".md") && name !== "log.md")
    .map((name) => `docs/${name}`),
];

/** Folders of the checkout, and of its runs. */
const OURS =
  /(?:^|[\s`"'(=])((?:recipes|models|docs|examples|src|scripts|bench|test|native|runs)\/[\w./-]*[\w/])(?=[^\w<*{…]|$)/g;

/** Runs and files that commands make. */
class Made {
  private readonly files = new Set<string>();
  private readonly runs = new Map<string, readonly string[]>();

  /** Takes note of what a command line leaves. */
  run(line: string): void {
    const words = line
      .trim()
      .replace(/\s+#.*$/, "")
      .split(/\s+/);
    for (const [i, word] of words.entries()) {
      if (word === ">" || word === "--out" || word === "-o") this.files.add(words[i + 1] ?? "");
      if (word.startsWith("--out=")) this.files.add(word.slice(6));
    }
    const at = words.findIndex((word) => /^(?:\.\/)?vigorl$/.test(word));
    const verb = words[at + 1];
    if (verb === "ask" && words.includes("--example")) this.files.add("example.png");
    if (at < 0 || !["demo", "search", "sft", "rl", "eval", "base"].includes(verb)) return;
    const flag = words.findIndex((word) => word === "--name");
    const written = words.find((word) => word.startsWith("--name="))?.slice(7);
    const usual = verb === "base" ? "recipes/nano-base.yaml" : "recipes/nano.yaml";
    const recipe = words.slice(at + 2).find((word) => word.endsWith(".yaml")) ?? usual;
    if (words.includes("--dry-run")) return;
    if (verb === "base") {
      const { name } = loadConfig(join(root, recipe), baseRecipeSchema);
      this.runs.set(name, []);
      return;
    }
    if (!existsSync(join(root, recipe))) {
      this.runs.set(written ?? words[flag + 1] ?? "", []);
      return;
    }
    const { name, demo } = loadRecipe(join(root, recipe), []);
    const stages = ["search", "sft", "sft-samples", ...Object.keys(demo.arms)];
    const own = written ?? (flag >= 0 ? words[flag + 1] : name);
    this.runs.set(own, verb === "demo" ? stages : []);
  }

  has(path: string): boolean {
    if (this.files.has(path) || existsSync(join(root, path))) return true;
    const [top, name, stage, ...rest] = path.split("/");
    if (top !== "runs") return false;
    // A name of one letter stands for any run.
    if (name.length === 1) return true;
    const stages = this.runs.get(name);
    if (stages === undefined) return false;
    if (stage === undefined || stage === "") return true;
    if (
      /^(?:report\.(?:html|md|json)|metrics\.jsonl|manifest\.json|traces\.jsonl|trees\.jsonl)$/.test(
        stage,
      )
    )
      return rest.length === 0;
    if (["eval", "images", "checkpoints", "tensorboard", "trees", "chains"].includes(stage))
      return true;
    return stages.includes(stage);
  }
}

/** Files that a command of ours is given. */
function filesOf(line: string): string[] {
  const command = line.replace(/\s#\s.*$/, "");
  if (!/^\s*(?:\.\/)?vigorl\s/.test(command)) return [];
  return command.split(/\s+/).filter((word) => /^[\w./-]+\.(?:png|jpe?g|jsonl?|yaml)$/.test(word));
}

interface Named {
  readonly line: number;
  readonly path: string;
}

/** What a page names that is not there when it is named. */
function missing(page: string, made: Made): Named[] {
  const found: Named[] = [];
  let inShell = false;
  for (const [i, line] of readFileSync(join(root, page), "utf8").split("\n").entries()) {
    if (line.startsWith("```")) inShell = /^```(?:sh|bash)/.test(line);
    const links = [...line.matchAll(/\]\((?!https?:|#)([^)#]+)/g)].map(([, target]) =>
      join(dirname(page), target),
    );
    const plain = line.replaceAll(/\]\([^)]*\)/g, "]");
    const named = [...plain.matchAll(OURS)].map(([, path]) => path);
    if (inShell) made.run(line);
    const brought = page === "README.md" && inShell ? filesOf(line) : [];
    for (const path of [...links, ...named, ...brought])
      if (!made.has(path)) found.push({ line: i + 1, path });
  }
  return found;
}

test.each(pages)("%s names paths that are there", (page) => {
  const made = new Made();
  const before = missing("README.md", made);
  expect(page === "README.md" ? before : missing(page, made)).toEqual([]);
});

test("a picture that nobody has made is found", () => {
  expect(filesOf('./vigorl ask picture.png "what?" --model runs/demo  # a.png')).toEqual([
    "picture.png",
  ]);
  const made = new Made();
  made.run("./vigorl ask --example");
  expect([made.has("example.png"), made.has("picture.png")]).toEqual([true, false]);
});

test("a path that no command makes is found", () => {
  const made = new Made();
  expect(made.has("runs/demo/report.html")).toBe(false);
  made.run("./vigorl demo   # six minutes");
  expect(made.has("runs/demo/report.html")).toBe(true);
  expect(made.has("runs/demo/rl-nowhere/checkpoints/step-9")).toBe(false);
  expect(made.has("runs/other")).toBe(false);
  made.run("./vigorl sft recipes/nano.yaml --name warm");
  expect(made.has("runs/warm/checkpoints/step-1")).toBe(true);
  expect(made.has("recipes/nowhere.yaml")).toBe(false);
});
