/**
 * AdamW over the trained parameters, and its state on disk: `optimizer.safetensors` for the moments,
 * `optimizer.json` for the counters and settings. A resumed run goes on with the same bits. Gains of
 * norms and biases are decayed only where `decayAll` says so.
 */
import { join } from "node:path";
import { z } from "zod";
import { errno, VigorlError } from "../../core/errors.ts";
import { writeFileAtomic } from "../../core/files.ts";
import { readText } from "../../core/regular-file.ts";
import { isUndecayed, type Parameters } from "../../model/parameters.ts";
import type { Tensor } from "../../torch/ops.ts";
import { AdamW, clipGradNorm } from "../../torch/optim.ts";
import { openSafetensors } from "../../torch/safetensors.ts";
import { writeSafetensors } from "../../torch/safetensors-write.ts";
import { scope } from "../../torch/scope.ts";
import type { OptimParams } from "../types.ts";
import { GradientSums } from "./gradient-sums.ts";

const settingsSchema = z.strictObject({
  beta1: z.number(),
  beta2: z.number(),
  eps: z.number(),
  weightDecay: z.number(),
  decayAll: z.boolean().default(false),
  moments: z.enum(["float32", "bfloat16", "int8"]).default("float32"),
  masters: z.enum(["float32", "kahan", "none"]).default("float32"),
  stateOn: z.enum(["device", "cpu"]).default("device"),
});
const stateSchema = z.strictObject({
  weightsVersion: z.int().nonnegative(),
  /** Null before the first step. */
  settings: settingsSchema.nullable(),
});

type Settings = z.infer<typeof settingsSchema>;

export class Optimizer {
  /** Steps taken so far. */
  weightsVersion = 0;
  readonly gradients: GradientSums;
  private readonly trained: Parameters;
  private settings: Settings | null = null;
  private adam: AdamW | null = null;

  constructor(trained: Parameters) {
    this.trained = trained;
    this.gradients = new GradientSums(trained);
  }

  /**
   * Clips, steps and clears the gradients; returns the norm from before.
   * @throws VigorlError "numerics" where the norm is not finite; the weights stay, the gradients go
   */
  step({ learningRate, clipNorm, ...params }: OptimParams): number {
    this.adamFor(settingsSchema.parse(params));
    const gradientOf = (parameter: Tensor) => this.gradients.of(parameter);
    const bound = clipNorm > 0 ? clipNorm : Infinity;
    const norm = clipGradNorm(this.trained.values(), bound, gradientOf);
    if (!Number.isFinite(norm)) {
      this.gradients.clear();
      throw new VigorlError("numerics", `optimStep: the gradient norm is ${norm}`, {
        hint: "lower the learning rate, or look for a datum with extreme log-probabilities",
      });
    }
    this.adam!.step(learningRate, gradientOf);
    this.gradients.clear();
    this.weightsVersion++;
    return norm;
  }

  /** Forgets all moments, as before the first step. */
  reset(): void {
    this.adam?.dispose();
    this.adam = null;
    this.settings = null;
    this.weightsVersion = 0;
    this.gradients.clear();
  }

  async save(folder: string): Promise<void> {
    const { weightsVersion, settings } = this;
    if (this.adam !== null)
      scope(() =>
        writeSafetensors(join(folder, "optimizer.safetensors"), contiguous(this.adam!.state())),
      );
    const json = JSON.stringify({ weightsVersion, settings }, null, 2);
    await writeFileAtomic(join(folder, "optimizer.json"), `${json}\n`);
  }

  /** @throws VigorlError "input" where the folder has no state, a damaged one or another model's */
  async load(folder: string): Promise<void> {
    const state = await readState(join(folder, "optimizer.json"));
    this.reset();
    this.weightsVersion = state.weightsVersion;
    if (state.settings === null) return;
    const adam = this.adamFor(state.settings);
    const file = openSafetensors(join(folder, "optimizer.safetensors"));
    try {
      scope(() => adam.loadState(new Map(file.names.map((name) => [name, file.read(name)]))));
    } finally {
      file.close();
    }
  }

  /** The optimizer with these settings; moments survive a change of settings. */
  private adamFor(settings: Settings): AdamW {
    const same =
      this.settings !== null &&
      (Object.keys(settings) as (keyof Settings)[]).every(
        (key) => settings[key] === this.settings![key],
      );
    if (this.adam !== null && same) return this.adam;
    const before = this.adam;
    const adam = newAdam(this.trained, settings);
    if (before !== null) scope(() => adam.loadState(before.state()));
    before?.dispose();
    this.adam = adam;
    this.settings = settings;
    return adam;
  }
}

function newAdam(trained: Parameters, settings: Settings): AdamW {
  const { beta1, beta2, eps, weightDecay, decayAll, moments, masters, stateOn: place } = settings;
  const decayed: Parameters = new Map();
  const plain: Parameters = new Map();
  for (const [name, parameter] of trained)
    (!decayAll && isUndecayed(name) ? plain : decayed).set(name, parameter);
  return new AdamW([{ parameters: decayed }, { parameters: plain, weightDecay: 0 }], {
    betas: [beta1, beta2],
    eps,
    weightDecay,
    form: { moments, masters, place },
  });
}

async function readState(file: string): Promise<z.infer<typeof stateSchema>> {
  let text: string;
  try {
    text = await readText(file);
  } catch (error) {
    if (errno(error) !== "ENOENT") throw error;
    throw new VigorlError("input", `${file}: there is no optimizer state`, {
      hint: "resume from a checkpoint folder, or load without the optimizer",
    });
  }
  try {
    return stateSchema.parse(JSON.parse(text));
  } catch (cause) {
    throw new VigorlError("input", `${file}: damaged optimizer state`, { cause });
  }
}

function contiguous(state: ReadonlyMap<string, Tensor>): Map<string, Tensor> {
  return new Map([...state].map(([name, value]) => [name, value.contiguous()]));
}
