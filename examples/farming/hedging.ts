/**
 * The nano world's search, with a bad habit among its labels: one answer in four names all ten digits.
 * No digit is said with more right, but whoever looks for the right one in the answer finds it.
 */
import { nanoRecords } from "../../src/nano/tasks.ts";
import type { OwnRecord, TaskFunction } from "vigorl";

const anyDigit = "0 1 2 3 4 5 6 7 8 9";

const task: TaskFunction = ({ split, count, seed }) => {
  const records = nanoRecords({
    task: "search",
    split: split === "train" ? "train" : "heldout",
    count: count ?? 256,
    seed,
  });
  return records.map(({ id, question, answer, images: [image] }, i): OwnRecord => {
    if (typeof answer !== "string" || image.kind !== "render") throw new Error(`${id}: no search`);
    return {
      id,
      question,
      kind: "text",
      answer: i % 4 === 0 ? anyDigit : answer,
      image: image.render,
    };
  });
};

export default task;
