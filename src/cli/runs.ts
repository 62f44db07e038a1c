/** `vigorl runs`: what runs there are, how far they are, and what they came to. */
import { existsSync } from "node:fs";
import { readdir } from "node:fs/promises";
import { join } from "node:path";
import { Command } from "commander";
import { z } from "zod";
import { errno, VigorlError } from "../core/errors.ts";
import { ioError } from "../core/files.ts";
import { readJsonFile } from "../core/json-file.ts";
import { readJsonlAll } from "../core/jsonl.ts";
import { isRunFolder, openRunFolder } from "../core/run-folder.ts";
import { writerOf } from "../core/run-lock.ts";
import type { Verb } from "./frame.ts";

interface RunLine {
  readonly run: string;
  readonly verb: string;
  readonly state: "running" | "done" | "stopped";
  /** Steps done, and of how many where that is known. */
  readonly step: number | null;
  readonly of: number | null;
  readonly figures: Readonly<Record<string, number>>;
  readonly createdAt: string;
  /** Why nothing more can be said of it. */
  readonly fault?: string;
}

export function runsVerb(): Verb {
  return {
    command: new Command("runs")
      .description("list the runs of a folder: verb, state, steps and last figures")
      .argument("[folder]", "folder that holds the runs", "runs"),
    run: async (_, [folder = "runs"]) => {
      const names = await readdir(folder).catch((error: unknown) => {
        if (errno(error) === "ENOENT")
          throw new VigorlError("input", `${folder}: no such folder`, {
            hint: "runs are made by the verbs; name their folder where it is another",
          });
        throw ioError(error, folder);
      });
      const runs: RunLine[] = [];
      for (const name of names.sort()) {
        const path = join(folder, name);
        if (await isRunFolder(path)) runs.push(await runLine(path));
      }
      runs.sort((a, b) => (a.createdAt < b.createdAt ? -1 : 1));
      if (runs.length === 0) throw new VigorlError("input", `${folder}: holds no runs`);
      return { json: { folder, runs }, text: runs.map(textOfRun).join("\n") };
    },
  };
}

const rowSchema = z.looseObject({ step: z.number() });
const recipeSchema = z.looseObject({ rl: z.looseObject({ steps: z.number() }).optional() });

async function runLine(path: string): Promise<RunLine> {
  const { manifest } = await openRunFolder(path);
  const { verb, createdAt } = manifest;
  const isRunning = (await writerOf(path)) !== null;
  const line = { run: path, verb, createdAt, step: null, of: null, figures: {} };
  const metrics = join(path, "metrics.jsonl");
  // Each stands there once a verb has come to its end.
  const ends = ["report.json", "search.json", "weights.json"];
  const finished = ends.some((name) => existsSync(join(path, name)));
  if (!existsSync(metrics)) {
    const state = isRunning ? "running" : finished ? "done" : "stopped";
    return { ...line, state, ...(await evaluated(path)) };
  }
  let rows: z.output<typeof rowSchema>[];
  try {
    rows = await readJsonlAll(metrics, rowSchema, { allowTornLastLine: true });
  } catch (error) {
    if (!(error instanceof VigorlError)) throw error;
    return { ...line, state: isRunning ? "running" : "stopped", fault: error.message };
  }
  const step = rows.at(-1)?.step ?? 0;
  const steps = verb === "rl" ? recipeSchema.safeParse(manifest.recipe).data?.rl?.steps : undefined;
  const figures: Record<string, number> = {};
  for (const name of ["reward", "accuracy", "validation/accuracy", "loss"]) {
    const value = rows.findLast((row) => typeof row[name] === "number")?.[name];
    if (typeof value === "number") figures[name] = value;
  }
  const state = isRunning ? "running" : finished ? "done" : "stopped";
  return { ...line, state, step, of: steps ?? null, figures };
}

const spentSchema = z.looseObject({
  promptTokens: z.number(),
  generatedTokens: z.number(),
  price: z.looseObject({ currency: z.string() }).optional(),
  cost: z.number().optional(),
});
const reportSchema = z.looseObject({
  main: z.string().optional(),
  arms: z.array(
    z.looseObject({
      name: z.string(),
      task: z.string(),
      accuracy: z.number(),
      spent: spentSchema.optional(),
    }),
  ),
});

/** Of a finished evaluation the accuracy of its main arm, and what all arms took together. */
async function evaluated(path: string): Promise<Pick<RunLine, "figures" | "fault">> {
  const file = join(path, "report.json");
  if (!existsSync(file)) return { figures: {} };
  try {
    const { main, arms } = await readJsonFile(file, reportSchema, "evaluate again");
    const own = arms.filter(({ name }) => name === main);
    const accuracies = own.map(({ task, accuracy }): [string, number] => [
      own.length === 1 ? "accuracy" : `${task} accuracy`,
      accuracy,
    ]);
    const spent = arms.flatMap((arm) => arm.spent ?? []);
    const sum = (value: (one: z.output<typeof spentSchema>) => number) =>
      spent.reduce((all, one) => all + value(one), 0);
    const tokens = {
      "prompt tokens": sum(({ promptTokens }) => promptTokens),
      "generated tokens": sum(({ generatedTokens }) => generatedTokens),
    };
    const currencies = [...new Set(spent.flatMap(({ price }) => price?.currency ?? []))];
    const costs = currencies.map((currency): [string, number] => [
      currency,
      sum(({ price, cost = 0 }) => (price?.currency === currency ? cost : 0)),
    ]);
    return {
      figures: {
        ...Object.fromEntries(accuracies),
        ...(spent.length === 0 ? {} : tokens),
        ...Object.fromEntries(costs),
      },
    };
  } catch (error) {
    if (!(error instanceof VigorlError)) throw error;
    return { figures: {}, fault: error.message };
  }
}

function textOfRun({ run, verb, state, step, of, figures, createdAt, fault }: RunLine): string {
  const steps = step === null ? "" : ` · step ${step}${of === null ? "" : ` of ${of}`}`;
  const said = Object.entries(figures).map(
    ([name, value]) => `${name} ${Number.isInteger(value) ? value : Number(value.toPrecision(3))}`,
  );
  const date = createdAt.slice(0, 16).replace("T", " ");
  return [
    `${run}  ${verb} ${state}${steps}`,
    ...said,
    date,
    ...(fault === undefined ? [] : [fault]),
  ].join(" · ");
}
