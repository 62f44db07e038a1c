/**
 * The questions of the nano world as task records, after the paper's three domains: find a detail
 * (search), say where one thing is as seen from another (relation), point at a thing (click). A record
 * holds its scene as a seed: the canvas is drawn when an episode needs it.
 */
import type { TaskRecord } from "../task/record.ts";
import { stream } from "../core/random.ts";
import { drawCanvas } from "./canvas.ts";
import { clickQuestion, relationBetween, relationQuestion, searchQuestion } from "./language.ts";
import { nameOf, sceneAt, type Scene, type SceneObject } from "./scene.ts";
import { relations, viewScale, type Split } from "./world.ts";

export const nanoTasks = ["search", "relation", "click"] as const;
export type NanoTask = (typeof nanoTasks)[number];

export interface NanoRecordsOptions {
  readonly task: NanoTask;
  readonly split: Split;
  readonly count: number;
  readonly seed: number;
}

/** `count` records; the same options give the same records, and a larger count only adds to them. */
export function nanoRecords({ task, split, count, seed }: NanoRecordsOptions): TaskRecord[] {
  return Array.from({ length: count }, (_, index) => record(task, split, seed, index));
}

/** Half the side of the box that a click has to hit, in canvas pixels: the middle of the icon. */
const clickReachPx = 16;

function record(task: NanoTask, split: Split, seed: number, index: number): TaskRecord {
  const rng = stream(seed, "nano-question", task, split, index);
  const makers = { search: searchTask, relation: relationTask, click: clickTask };
  for (let attempt = 0; ; attempt++) {
    const sceneSeed = seed * 1000 + attempt;
    const scene = sceneAt(split, sceneSeed, index);
    const made = makers[task](scene, rng.shuffle(scene.objects));
    if (made === null) continue;
    const id = `nano-${task}-${split}-${seed}-${index}`;
    const render = () => drawCanvas(scene);
    return {
      id,
      images: [{ kind: "render", name: `${id}.png`, render }],
      category: task,
      source: "nano",
      ...made,
    };
  }
}

type Task = Pick<TaskRecord, "question" | "kind" | "answer" | "choices">;

function searchTask(_: Scene, [asked]: readonly SceneObject[]): Task {
  const question = searchQuestion(nameOf(asked));
  return { question, kind: "number", answer: String(asked.plate.digit) };
}

/** Null where no two things of the scene lie clearly to one side of each other. */
function relationTask(_: Scene, shuffled: readonly SceneObject[]): Task | null {
  for (const asked of shuffled)
    for (const other of shuffled) {
      const answer = asked === other ? null : relationBetween(scaled(other), scaled(asked));
      if (answer === null) continue;
      const question = relationQuestion(nameOf(asked), nameOf(other));
      return { question, kind: "choice", answer, choices: relations };
    }
  return null;
}

function clickTask(_: Scene, [asked]: readonly SceneObject[]): Task {
  const { x, y } = asked;
  const box = [x - clickReachPx, y - clickReachPx, x + clickReachPx, y + clickReachPx] as const;
  return { question: clickQuestion(nameOf(asked)), kind: "point", answer: { box } };
}

function scaled(object: SceneObject): { x: number; y: number } {
  return { x: object.x / viewScale, y: object.y / viewScale };
}
