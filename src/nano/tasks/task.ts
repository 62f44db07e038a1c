/** What a task of the nano world is: a question about a scene, or none where the scene has no such. */
import type { Rng } from "../../core/random.ts";
import type { TaskRecord } from "../../task/record.ts";
import type { Scene, SceneObject } from "../scene.ts";
import type { Split } from "../world.ts";

export type NanoQuestion = Pick<TaskRecord, "question" | "kind" | "answer" | "choices">;

export interface NanoTask {
  /** Draws a scene by (split, seed, index); default `sceneAt`, whose things all carry digits. */
  readonly scene?: (split: Split, seed: number, index: number) => Scene;
  /**
   * Asks about a scene. `things` are all that stands in it, shuffled by the record's own stream `rng`;
   * null draws another scene.
   */
  readonly ask: (things: readonly SceneObject[], rng: Rng) => NanoQuestion | null;
}
