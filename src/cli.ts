/** The command line. Verbs live in `cli/`, one line each in `cli/verbs.ts`, what they share in `cli/frame.ts`. */
import { Command } from "commander";
import { runCommandLine } from "./cli/frame.ts";
import { makeVerbs } from "./cli/verbs.ts";
import { ownVersion, programName } from "./core/paths.ts";

const program = new Command("vigorl")
  .description("Train, run and inspect vision-language models that point at what they think about.")
  .version(ownVersion())
  .addHelpText(
    "after",
    `
Any key of a recipe can be set on the command line: --rl.groupSize=8
Start here:  ${programName} demo        from the base model to a report, about six minutes
             ${programName} doctor      what is in use, and how to fix what is not`,
  );

const code = await runCommandLine(program, makeVerbs(), process.argv.slice(2));
// Waits for the pipe, then goes: a thread or a socket left open must not keep the terminal.
process.stdout.write("", () => process.exit(code));
