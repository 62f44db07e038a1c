/**
 * The questions of the nano world as task records, after the paper's three domains. The tasks are a
 * table, one file a task; nobody else names one. A record holds its scene as a seed: the canvas is
 * drawn when an episode needs it.
 */
import type { TaskRecord } from "../task/record.ts";
import { stream } from "../core/random.ts";
import { drawCanvas } from "./canvas.ts";
import { sceneAt } from "./scene.ts";
import { absent } from "./tasks/absent.ts";
import { chase } from "./tasks/chase.ts";
import { click } from "./tasks/click.ts";
import { compare } from "./tasks/compare.ts";
import { find } from "./tasks/find.ts";
import { relation } from "./tasks/relation.ts";
import { search } from "./tasks/search.ts";
import type { NanoTask } from "./tasks/task.ts";
import type { Split } from "./world.ts";

export const nanoTasks = {
  search,
  relation,
  click,
  find,
  compare,
  chase,
  absent,
} as const satisfies Record<string, NanoTask>;

export type NanoTaskName = keyof typeof nanoTasks;
export const nanoTaskNames = Object.keys(nanoTasks) as [NanoTaskName, ...NanoTaskName[]];

export interface NanoRecordsOptions {
  readonly task: NanoTaskName;
  readonly split: Split;
  readonly count: number;
  readonly seed: number;
}

/** `count` records; the same options give the same records, and a larger count only adds to them. */
export function nanoRecords({ task, split, count, seed }: NanoRecordsOptions): TaskRecord[] {
  return Array.from({ length: count }, (_, index) => record(task, split, seed, index));
}

function record(task: NanoTaskName, split: Split, seed: number, index: number): TaskRecord {
  const rng = stream(seed, "nano-question", task, split, index);
  const { ask, scene: sceneOf = sceneAt }: NanoTask = nanoTasks[task];
  for (let attempt = 0; ; attempt++) {
    const scene = () => sceneOf(split, seed * 1000 + attempt, index);
    const question = ask(rng.shuffle(scene().objects), rng);
    if (question === null) continue;
    const id = `nano-${task}-${split}-${seed}-${index}`;
    // Drawn anew, so that a record holds a few numbers and not a scene.
    const render = () => drawCanvas(scene());
    return {
      id,
      images: [{ kind: "render", name: `${id}.png`, render }],
      category: task,
      source: "nano",
      ...question,
    };
  }
}
