/** What a task of the nano world is: a question about a scene, or none where the scene has no such. */
import type { TaskRecord } from "../../task/record.ts";
import type { SceneObject } from "../scene.ts";

export type NanoQuestion = Pick<TaskRecord, "question" | "kind" | "answer" | "choices">;

/**
 * Asks about a scene. `things` are all that stands in it, shuffled by the record's own stream; null
 * draws another scene.
 */
export type NanoTask = (things: readonly SceneObject[]) => NanoQuestion | null;
