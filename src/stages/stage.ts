/** How a stage of a recipe is run, and what it leaves. */
import type { RunLock } from "../core/run-lock.ts";
import type { Recipe } from "../recipe.ts";
import type { Metrics } from "../train/metrics.ts";

/** How a stage is run. */
export interface StageOptions {
  readonly recipe: Recipe;
  /** Run folder of the stage. */
  readonly path: string;
  /** Go on where a run of the same recipe was stopped. */
  readonly resume: boolean;
  readonly overwrite: boolean;
  /** Resume though data or weights are no longer those that the run began with. */
  readonly changedInputs?: boolean;
  readonly quiet: boolean;
  readonly signal: AbortSignal;
  /** The command that asked for it. */
  readonly command?: string;
  /** What of the recipe comes from the files that the model was published with. */
  readonly notes?: readonly string[];
  /** Who times a stage; what it throws ends the stage. */
  readonly watch?: Watch;
  /** The lock of the run folder, held by the stage itself. */
  readonly lock?: RunLock;
}

/** Hears of what has been done. */
export interface Watch {
  /** Examples were made, and from what, with how long that took. */
  examples?(seconds: number, counts: Readonly<Record<string, number>>): void;
  step?(metrics: Metrics): void;
}

/** What a stage leaves: its folder (of training, the checkpoint of its weights), and how long it took. */
export interface Staged {
  readonly folder: string;
  /** What trained weights can be loaded from: the folder, or a handle of the engine that keeps them. */
  readonly weights?: string;
  readonly seconds: number;
  /** Counts by what they count. */
  readonly notes: Readonly<Record<string, number>>;
}
