/** `vigorl ablate`: arms of one recipe with several seeds, and claims put to the test. */
import { fork } from "node:child_process";
import { createWriteStream } from "node:fs";
import { mkdir } from "node:fs/promises";
import { once } from "node:events";
import { cpus } from "node:os";
import { dirname } from "node:path";
import { Command } from "commander";
import { VigorlError } from "../core/errors.ts";
import { inside } from "../core/inside.ts";
import { textTable } from "../core/plain-text.ts";
import {
  textOf,
  wholeNumber,
  type Context,
  type Options,
  type Result,
  type Verb,
} from "./frame.ts";

export function ablateVerb(): Verb {
  return {
    command: new Command("ablate")
      .description("arms of one recipe with several seeds, and claims put to the test")
      .argument("[ablation]", "an ablation in YAML", "recipes/nano-ablations.yaml")
      .option("--out <folder>", "folder that holds the runs", "runs")
      .option("--only <arms>", "only these arms, and those that they need: one,two")
      .option("--parallel <number>", "runs at once", String(Math.max(1, cpus().length >> 1)))
      .option("--unit <run>", "one run alone, ARM@SEED, in this process; its needs are finished")
      .option("--dry-run", "list what is to be run")
      .option("--resume", "go on with an ablation that was stopped, or that has new arms")
      .option("--overwrite", "remove an ablation of this name and start again"),
    run: async (context, [file = ""], options) => {
      if (context.overrides.length > 0)
        throw new VigorlError(
          "usage",
          `--${context.overrides[0].path}: an ablation sets keys in its file`,
          {
            hint: "write it under `set` of an arm, or into the recipe",
          },
        );
      const { loadAblation, unitsOf } = await import("../ablation/ablation.ts");
      const { nameOf, recipesOf, unitOf } = await import("../ablation/run.ts");
      const ablation = loadAblation(file);
      const path = inside(String(options.out), ablation.name);
      const unit = textOf(options.unit);
      if (unit !== undefined) {
        endWithParent();
        const { runUnit } = await import("../ablation/unit.ts");
        await runUnit(ablation, path, unitOf(ablation, unit), context);
        return { json: { unit, folder: path }, text: `${unit} is done` };
      }
      const names = unitsOf(ablation).map(nameOf);
      recipesOf(ablation);
      if (options.dryRun === true)
        return { json: { units: names }, text: `${names.join("\n")}\n${names.length} runs` };
      return ablate(context, file, path, options);
    },
  };
}

async function ablate(
  context: Context,
  file: string,
  path: string,
  options: Options,
): Promise<Result> {
  if (options.resume === true && options.overwrite === true)
    throw new VigorlError("usage", "--resume and --overwrite exclude each other");
  const { loadAblation } = await import("../ablation/ablation.ts");
  const { runAblation, nameOf } = await import("../ablation/run.ts");
  const { seedFolder } = await import("../ablation/unit.ts");
  const { signed } = await import("../eval/report-figures.ts");
  const result = await runAblation({
    ablation: loadAblation(file),
    path,
    resume: options.resume === true,
    overwrite: options.overwrite === true,
    parallel: wholeNumber("--parallel", options.parallel, 1, 1024),
    only: textOf(options.only)?.split(","),
    quiet: context.quiet,
    signal: context.signal,
    command: context.command,
    run: async (unit) => {
      const { arm, seed } = unit;
      const log = inside(seedFolder(path, seed), "logs", `${arm}.log`);
      const words = ["ablate", file, "--out", dirname(path), "--unit", nameOf(unit)];
      await inOwnProcess(words, log, context.signal);
    },
  });
  const { findings, units, skipped, done } = result;
  const table = textTable(
    [
      ["claim", "difference", "95 % interval", ""],
      ...findings.map(({ claim, difference, ci95: [low, high], verdict }) => [
        claim,
        signed(difference),
        `${signed(low)} to ${signed(high)}`,
        verdict,
      ]),
    ],
    1,
  );
  const head = `${units} runs: ${done} done now, ${skipped} before`;
  return {
    json: { ...result },
    text: [head, "", ...table, "", inside(path, "results.html")].join("\n"),
  };
}

/** Runs a verb in a process of its own, its words in a log; a stop is passed on, and it saves. */
async function inOwnProcess(
  words: readonly string[],
  log: string,
  signal: AbortSignal,
): Promise<void> {
  await mkdir(dirname(log), { recursive: true });
  const output = createWriteStream(log, { flags: "a" });
  await once(output, "open");
  // A group of its own: Ctrl-C reaches it once, from here.
  const child = fork(process.argv[1], [...words], {
    stdio: ["ignore", output, output, "ipc"],
    detached: true,
  });
  const stop = () => child.kill("SIGTERM");
  signal.addEventListener("abort", stop);
  try {
    const [code, killedBy] = (await once(child, "exit")) as [number | null, string | null];
    if (code === 0) return;
    signal.throwIfAborted();
    const how = code === null ? `was killed by ${killedBy}` : `ended with ${code}`;
    throw new VigorlError("input", `${how}; see ${log}`);
  } finally {
    signal.removeEventListener("abort", stop);
    output.close();
  }
}

/** A unit whose ablation is gone saves and ends. */
function endWithParent(): void {
  if (process.channel === undefined) return;
  process.channel.unref();
  process.on("disconnect", () => process.kill(process.pid, "SIGTERM"));
}
