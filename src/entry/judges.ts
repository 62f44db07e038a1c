/** `vigorl/judges`: whether an answer is right, by kind of question. Loads no native code. */
export { VigorlError } from "../core/errors.ts";
export { judge, type JudgeOptions } from "../task/judge.ts";
export { kindNames, truthProblem, type Asked, type KindName, type Truth } from "../task/kinds.ts";
