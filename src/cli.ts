/** The command line: one line a verb. Verbs live in `cli/`, what they share in `cli/frame.ts`. */
import { Command } from "commander";
import { askVerb } from "./cli/ask.ts";
import { baseVerb } from "./cli/base.ts";
import { behavioursVerb } from "./cli/behaviours.ts";
import { compareVerb } from "./cli/compare.ts";
import { completionVerb } from "./cli/completion.ts";
import { dataVerb } from "./cli/data.ts";
import { demoVerb } from "./cli/demo.ts";
import { doctorVerb } from "./cli/doctor.ts";
import { evalVerb } from "./cli/eval.ts";
import { runCommandLine, type Verb } from "./cli/frame.ts";
import { linearizeVerb } from "./cli/linearize.ts";
import { mergeVerb } from "./cli/merge.ts";
import { resumeVerb } from "./cli/resume.ts";
import { rlVerb } from "./cli/rl.ts";
import { runsVerb } from "./cli/runs.ts";
import { searchVerb } from "./cli/search.ts";
import { serveVerb } from "./cli/serve.ts";
import { sftVerb } from "./cli/sft.ts";
import { studyVerb } from "./cli/study.ts";
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

const verbs: Verb[] = [
  demoVerb(),
  dataVerb(),
  baseVerb(),
  searchVerb(),
  linearizeVerb(),
  sftVerb(),
  rlVerb(),
  evalVerb(),
  resumeVerb(),
  runsVerb(),
  compareVerb(),
  behavioursVerb(),
  studyVerb(),
  mergeVerb(),
  askVerb(),
  serveVerb(),
  doctorVerb(),
];
verbs.push(completionVerb([...verbs]));

const code = await runCommandLine(program, verbs, process.argv.slice(2));
// Waits for the pipe, then goes: a thread or a socket left open must not keep the terminal.
process.stdout.write("", () => process.exit(code));
