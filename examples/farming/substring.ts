/** A reward that pays where the truth is found anywhere in the answer, by the rule of a published judge. */
import { stringMatch } from "../../src/task/kinds/published-judges.ts";
import type { RewardFunction } from "vigorl";

const reward: RewardFunction = ({ answer }, record) => {
  if (typeof record.answer !== "string") throw new Error(`${record.id}: its answer is no text`);
  return Number(stringMatch(record.answer, answer ?? ""));
};

export default reward;
