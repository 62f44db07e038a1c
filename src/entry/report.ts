/** `vigorl/report`: traces in, reports and statistics out. Loads no native code until a picture is drawn. */
export { VigorlError } from "../core/errors.ts";
export { bootstrapDifference, mcNemar, wilsonInterval } from "../core/statistics.ts";
export { armOf, compareArms } from "../eval/count.ts";
export type { Evaluation } from "../eval/evaluate.ts";
export { writeReport } from "../eval/report-files.ts";
export { reportMarkdown, reportText, type Arm, type Report } from "../eval/report.ts";
export { behavioursOf, type BehaviourCounts, type BehaviourRules } from "../task/behaviours.ts";
export { readTraces, type Trace } from "../task/trace.ts";
