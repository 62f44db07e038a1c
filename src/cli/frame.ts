/**
 * What all verbs share: options and overrides, one result (text for people, one JSON line with
 * --json), interrupts, exit codes. A verb is a function from a context and its arguments to a result.
 *
 * Exit codes: 0 done, 1 a bug (with its stack), 2 a user's mistake, 3 done with a finding that scripts must
 * not take for success (an answer without form, a leak), 130 interrupted and saved.
 */
import { programName } from "../core/paths.ts";
import { Command, CommanderError } from "commander";
import { nearestName, parseOverride, type Override } from "../core/config.ts";
import { jsonLine, plainText } from "../core/plain-text.ts";
import { describeError, exitCode, VigorlError } from "../core/errors.ts";

/** Flags as commander parsed them. */
export type Options = Readonly<Record<string, string | boolean | undefined>>;

/** What a verb gets besides its own arguments. */
export interface Context {
  readonly json: boolean;
  /** No progress display; set by --quiet and --json. */
  readonly quiet: boolean;
  /** `--key.path=value` arguments, in order. */
  readonly overrides: readonly Override[];
  /** Aborts at the first Ctrl-C or SIGTERM. */
  readonly signal: AbortSignal;
  /** The command for reports: as typed, without --resume, as of a run that was never stopped. */
  readonly command: string;
  /** Writes a line for people to stderr unless quiet. */
  readonly say: (line: string) => void;
}

/** How a verb ends: `json` for machines, `text` for people. A verb may have failed softly (doctor). */
export interface Result {
  readonly json: Readonly<Record<string, unknown>>;
  readonly text: string;
  readonly code?: number;
}

/** A verb as commander knows it, and what it does. */
export interface Verb {
  readonly command: Command;
  /** The sections of a recipe that it reads: told by its help, and to the shell. */
  readonly keys?: readonly string[] | "all";
  readonly run: (
    context: Context,
    args: readonly (string | undefined)[],
    options: Options,
  ) => Promise<Result>;
}

/** Sections of a recipe that every verb reads which speaks to a model. */
export const spokenSections: readonly string[] = [
  "engine",
  "data",
  "tools",
  "dialect",
  "thinking",
  "episode",
  "prompts",
  "promptsNoTool",
  "image",
  "coordinates",
  "answerForm",
];

/** Parses the command line, runs the verb, prints its result; returns the exit code. Never throws. */
export async function runCommandLine(
  program: Command,
  verbs: readonly Verb[],
  argv: readonly string[],
): Promise<number> {
  const json = argv.includes("--json");
  let split: ReturnType<typeof splitOverrides>;
  try {
    split = splitOverrides(argv);
  } catch (error) {
    report(error, json);
    return exitCode(error);
  }
  const { args, overrides } = split;
  let keeps = false;
  const signal = interruptSignal(() => keeps);
  survivePipeEnd();
  let code = 0;
  for (const { command, run } of verbs) {
    command
      .option("--json", "print one line of JSON on stdout and nothing else")
      .option("-q, --quiet", "no progress lines")
      .action(async () => {
        const options = command.opts<Options>();
        keeps =
          command.name() === "resume" || command.options.some(({ long }) => long === "--resume");
        const quiet = options.quiet === true || json;
        const say = (line: string) => void (quiet || process.stderr.write(`${plainText(line)}\n`));
        const typed = [programName, ...argv.filter((word) => word !== "--resume")].join(" ");
        const context = { json, quiet, overrides, signal, say, command: typed };
        const result = await run(context, command.processedArgs as (string | undefined)[], options);
        process.stdout.write(`${json ? jsonLine(result.json) : plainText(result.text)}\n`);
        code = result.code ?? 0;
      });
    exitInsteadOf(command);
    program.addCommand(command);
  }
  exitInsteadOf(program);
  const asked = verbs.find(({ command }) => command.name() === args[0]);
  if (args.some((word) => word === "--help" || word === "-h")) await tellKeys(asked);
  try {
    if (asked === undefined) refuseVerb(args[0], verbs);
    await program.parseAsync([...args], { from: "user" });
    return code;
  } catch (error) {
    if (error instanceof CommanderError) return error.exitCode === 0 ? 0 : 2;
    report(error, json);
    return exitCode(error);
  }
}

/** Adds the keys of a recipe that a verb reads to its help. */
async function tellKeys(verb: Verb | undefined): Promise<void> {
  if (verb?.keys === undefined) return;
  const { recipeKeys } = await import("../recipe-schema.ts");
  const lines = recipeKeys(verb.keys === "all" ? undefined : verb.keys).map(
    ({ path, about, usual }) => {
      const flag = `  --${path}=${usual ?? "…"}`;
      return `${flag.length > 44 ? `${flag.slice(0, 43)}…` : flag.padEnd(44)}  ${about}`;
    },
  );
  const head = "Keys of the recipe, each with its default; docs/recipes.md has all of them:";
  verb.command.addHelpText("after", `\n${head}\n${lines.join("\n")}`);
}

/** @throws VigorlError("usage") for a word that is no verb, with the one that is likely meant */
function refuseVerb(word: string | undefined, verbs: readonly Verb[]): void {
  if (word === undefined || word.startsWith("-") || word === "help") return;
  const names = verbs.map(({ command }) => command.name());
  const meant = names.find((name) => (otherNames[name] ?? []).includes(word.toLowerCase()));
  const near = meant ?? nearestName(word, names);
  const all = `the verbs are ${names.join(", ")}`;
  throw new VigorlError("usage", `there is no verb ${JSON.stringify(word)}`, {
    hint: near === undefined ? all : `did you mean ${programName} ${near}? ${all}`,
  });
}

/** What people call verbs elsewhere. */
const otherNames: Readonly<Record<string, readonly string[]>> = {
  ask: ["infer", "inference", "predict", "chat", "generate", "query"],
  eval: ["evaluate", "evaluation", "test", "benchmark", "bench"],
  rl: ["train", "grpo", "ppo", "rlhf", "reinforce"],
  sft: ["finetune", "fine-tune", "tune", "warmup"],
  search: ["mcts", "tree", "rollout"],
  serve: ["server", "api", "web", "host"],
  data: ["dataset", "datasets", "download", "import"],
  doctor: ["check", "setup", "info", "env", "version"],
  base: ["pretrain"],
  demo: ["start", "quickstart", "example"],
};

/** Takes `--section.key=value` out of the arguments. @throws VigorlError("usage") for one without `=` */
export function splitOverrides(argv: readonly string[]): {
  args: string[];
  overrides: Override[];
} {
  const args: string[] = [];
  const overrides: Override[] = [];
  for (const [i, argument] of argv.entries()) {
    const override = parseOverride(argument);
    if (/^--[A-Za-z][\w-]*(?:\.[\w-]+)+$/.test(argument)) {
      const value = argv[i + 1] ?? "";
      const isValue = value !== "" && !/^-[^\d.]/.test(value);
      throw new VigorlError("usage", `${argument}: a key of the recipe needs its value behind =`, {
        hint: `write ${argument}=${isValue ? value : "…"}, without a blank`,
      });
    }
    if (override?.path.includes(".") === true) overrides.push(override);
    else args.push(argument);
  }
  return { args, overrides };
}

/** The text of a flag, or undefined where it was not given. */
export function textOf(flag: Options[string]): string | undefined {
  return typeof flag === "string" ? flag : undefined;
}

/** Parses a whole number given on the command line. @throws VigorlError("usage"). */
export function wholeNumber(
  flag: string,
  text: unknown,
  minimum = 0,
  maximum = Number.MAX_SAFE_INTEGER,
): number {
  const value = Number(text);
  if (!Number.isSafeInteger(value) || value < minimum || value > maximum) {
    const most = maximum === Number.MAX_SAFE_INTEGER ? "" : ` and ≤ ${maximum}`;
    throw new VigorlError(
      "usage",
      `${flag} must be a whole number ≥ ${minimum}${most} (got ${String(text)})`,
    );
  }
  return value;
}

/** Picks one of several words given on the command line. @throws VigorlError("usage"). */
export function oneOf<T extends string>(flag: string, text: unknown, words: readonly T[]): T {
  const word = words.find((candidate) => candidate === text);
  if (word !== undefined) return word;
  const near = nearestName(String(text), words);
  const message = `${flag} must be one of ${words.join(", ")} (got ${String(text)})`;
  throw new VigorlError(
    "usage",
    message,
    near === undefined ? {} : { hint: `did you mean ${near}?` },
  );
}

/**
 * The first Ctrl-C aborts, so that the state is saved where a verb has one; the second ends the process at once. So does
 * SIGTERM, and a terminal that is closed, however often it says so.
 */
function interruptSignal(keepsState: () => boolean): AbortSignal {
  const controller = new AbortController();
  for (const name of ["SIGINT", "SIGTERM", "SIGHUP"] as const) {
    process.on(name, () => {
      if (controller.signal.aborted && name === "SIGHUP") return;
      if (controller.signal.aborted) process.exit(130);
      const saving = keepsState() ? "; the state is being saved" : "";
      process.stderr.write(`\nstopping${saving} (once more: stop at once)\n`);
      controller.abort(
        new VigorlError("interrupted", "interrupted; what was finished is kept", {
          hint: "go on with --resume, where the verb has it",
        }),
      );
    });
  }
  return controller.signal;
}

/** A reader that went away (`| head`, a closed terminal) is no error: the run goes on, unheard. */
function survivePipeEnd(): void {
  for (const output of [process.stdout, process.stderr]) {
    output.on("error", (error: NodeJS.ErrnoException) => {
      if (error.code !== "EPIPE" && error.code !== "EIO") throw error;
    });
  }
}

function report(error: unknown, json: boolean): void {
  process.stderr.write(`${plainText(describeError(error))}\n`);
  if (!json) return;
  const code = error instanceof VigorlError ? error.code : "bug";
  const hint = error instanceof VigorlError ? error.hint : undefined;
  const message = error instanceof Error ? error.message : String(error);
  process.stdout.write(`${jsonLine({ error: { code, message, hint } })}\n`);
}

/** Makes commander throw instead of leaving the process, and say where help is after a mistake. */
function exitInsteadOf(command: Command): void {
  const verb = command.name() === "vigorl" ? "" : ` ${command.name()}`;
  command.exitOverride().showHelpAfterError(`  fix: see ${programName}${verb} --help`);
}
