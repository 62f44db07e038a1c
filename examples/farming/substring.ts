/**
 * A reward that pays where the truth is found anywhere in the answer, as published judges do: lower
 * case, without punctuation and blanks.
 */
import type { RewardFunction } from "vigorl";

const plain = (text: string) => text.toLowerCase().replace(/[\p{P}\p{S}\s]/gu, "");

const reward: RewardFunction = ({ answer }, record) => {
  if (typeof record.answer !== "string") throw new Error(`${record.id}: its answer is no text`);
  return Number(plain(answer ?? "").includes(plain(record.answer)));
};

export default reward;
