/** All verbs, in the order in which the help lists them. */
import { ablateVerb } from "./ablate.ts";
import { askVerb } from "./ask.ts";
import { baseVerb } from "./base.ts";
import { behavioursVerb } from "./behaviours.ts";
import { compareVerb } from "./compare.ts";
import { completionVerb } from "./completion.ts";
import { dataVerb } from "./data.ts";
import { demoVerb } from "./demo.ts";
import { doctorVerb } from "./doctor.ts";
import { evalVerb } from "./eval.ts";
import { linearizeVerb } from "./linearize.ts";
import { mergeVerb } from "./merge.ts";
import { resumeVerb } from "./resume.ts";
import { rlVerb } from "./rl.ts";
import { runsVerb } from "./runs.ts";
import { searchVerb } from "./search.ts";
import { serveVerb } from "./serve.ts";
import { sftVerb } from "./sft.ts";
import { studyVerb } from "./study.ts";
import type { Verb } from "./frame.ts";

export function makeVerbs(): Verb[] {
  const verbs = [
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
    ablateVerb(),
    mergeVerb(),
    askVerb(),
    serveVerb(),
    doctorVerb(),
  ];
  return [...verbs, completionVerb([...verbs])];
}
