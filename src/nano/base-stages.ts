/** The seven steps of base training behind one face: take a step, judge, hand out the state. */
import { programName } from "../core/paths.ts";
import { VigorlError } from "../core/errors.ts";
import { stream } from "../core/random.ts";
import type { ModelImage } from "../image/model-image.ts";
import type { ImageRef } from "../model/batch.ts";
import { isNorm, isVision } from "../model/parameters.ts";
import type { VisionLanguageModel } from "../model/vision-language-model.ts";
import { Muon } from "../torch/muon.ts";
import { AdamW, clipGradNorm, type Optimizer } from "../torch/optim.ts";
import type { Tensor } from "../torch/ops.ts";
import { noGrad, scope } from "../torch/scope.ts";
import type { Tokenizer } from "../text/tokenizer.ts";
import type { BaseRecipe } from "./base-recipe.ts";
import type { ChatWeights, ImagePart } from "./chat-parts.ts";
import { makeChat } from "./chats.ts";
import {
  chatAccuracy,
  chatLoss,
  encodeFresh,
  encodeSights,
  FeaturePool,
  imagesOf,
  pickKind,
  toExample,
} from "./language-step.ts";
import { prefetch } from "./prefetch.ts";
import { newPlaceHeads, towerAccuracy, towerLoss, towerWords } from "./tower.ts";
import { WordEncoder } from "./word-encoder.ts";

export const stageNames = [
  "tower",
  "lookups",
  "chats",
  "lookalikes",
  "habits",
  "looks",
  "verdicts",
] as const;
export type StageName = (typeof stageNames)[number];

export interface StageContext {
  readonly model: VisionLanguageModel;
  readonly tokenizer: Tokenizer;
  readonly recipe: BaseRecipe;
  readonly firstStep: number;
  readonly signal: AbortSignal | undefined;
}

export interface Stage {
  /** Takes one step, counted from 0 within the stage; returns its loss. */
  step(at: number): Promise<number>;
  /** Held-out accuracies by name. */
  evaluate(): Record<string, number>;
  /** All that a resumed run needs besides the model. */
  tensors(): ReadonlyMap<string, Tensor>;
  load(tensors: ReadonlyMap<string, Tensor>): void;
  close(): Promise<void>;
}

export function openStage(name: StageName, context: StageContext): Promise<Stage> {
  switch (name) {
    case "tower":
      return openTower(context);
    case "lookups":
    case "looks":
    case "verdicts":
      return openPool(name, context);
    default:
      return openChats(name, context);
  }
}

/** Warm-up over 50 steps; from the middle on the rate falls linearly to 3 %. */
export function rateAt(
  at: number,
  { steps, learningRate }: { steps: number; learningRate: number },
) {
  const fall = Math.max(0.03, 1 - Math.max(0, at - steps / 2) / (steps / 2));
  return learningRate * Math.min(1, (at + 1) / 50) * fall;
}

async function openTower({ model, tokenizer, recipe, firstStep }: StageContext): Promise<Stage> {
  const { seed, tower } = recipe;
  const words = towerWords(tokenizer);
  const heads = newPlaceHeads(model.config.text.hiddenSize, seed, model.device);
  const all = [...model.setTrainable("all")];
  const trained = all.filter(([name]) => isVision(name) || name === "model.embed_tokens.weight");
  for (const head of heads.values()) head.requiresGrad_(true);
  const matrices = new Map(
    trained.filter(([name, { ndim }]) => isVision(name) && !isNorm(name) && ndim >= 2),
  );
  const rest = new Map([...trained.filter(([name]) => !matrices.has(name)), ...heads]);
  const optimizer = new Muon(
    { matrices, rest: [{ parameters: rest, weightDecay: 0 }] },
    { weightDecay: 0.02 },
  );
  const plan = { seed, batchSize: tower.batchSize, firstStep, lastStep: tower.steps };
  const batches = prefetch("tower", plan, recipe.drawers);
  const stepped = [...matrices.values(), ...rest.values()];
  return {
    async step(at) {
      const batch = await nextOf(batches);
      const loss = () => towerLoss(model, heads, words, batch);
      return train(loss, stepped, optimizer, rateAt(at, tower));
    },
    evaluate: () => ({ ...towerAccuracy(model, heads, words, recipe.evalSights) }),
    tensors: () => new Map([...optimizer.state(), ...heads]),
    load(tensors) {
      optimizer.loadState(tensors);
      for (const [name, head] of heads) {
        const value = tensors.get(name);
        if (value === undefined) throw new Error(`the checkpoint lacks ${name}`);
        noGrad(() => head.copy_(value));
      }
    },
    async close() {
      await batches.return();
      optimizer.dispose();
      for (const head of heads.values()) head.dispose();
    },
  };
}

/** The language model on a pool of sights that the tower has read once. */
async function openPool(
  name: "lookups" | "looks" | "verdicts",
  context: StageContext,
): Promise<Stage> {
  const { model, tokenizer, recipe } = context;
  const { seed } = recipe;
  const stage =
    name === "lookups"
      ? { ...recipe.lookups, most: 2, lookalikes: 0 }
      : { ...recipe[name], most: 4 };
  const pool = await makePool(stage, context);
  const trained = model.setTrainable("language");
  const optimizer = new AdamW([{ parameters: trained }], { betas: [0.9, 0.98] });
  const encoder = new WordEncoder(tokenizer);
  const weights = weightsOf(stage);
  const loss = (at: number) => () => {
    const examples = Array.from({ length: stage.batchSize }, (_, i) => {
      const rng = stream(seed, name === "lookups" ? "nano-lookup" : `nano-${name}`, at, i);
      const index = rng.int(0, pool.sights.length - 1);
      const chat = makeChat(pickKind(rng, stage.mix), pool.sights[index], rng, weights);
      const imageOf = (which: ImagePart["which"]): ImageRef => pool.reference(index, which);
      return toExample(chat, encoder, tokenizer, imageOf);
    });
    return chatLoss(model, examples, (images) => pool.featuresOf(images));
  };
  return {
    async step(at) {
      return train(loss(at), [...trained.values()], optimizer, rateAt(at, stage));
    },
    evaluate: () => ({ ...chatAccuracy(model, tokenizer, recipe.evalSights) }),
    tensors: () => optimizer.state(),
    load: (tensors) => optimizer.loadState(tensors),
    async close() {
      optimizer.dispose();
      pool.dispose();
    },
  };
}

async function openChats(
  name: "chats" | "lookalikes" | "habits",
  { model, tokenizer, recipe, firstStep }: StageContext,
): Promise<Stage> {
  const { seed } = recipe;
  const chats = recipe[name];
  const trained = model.setTrainable(chats.trainable);
  const frozen = chats.trainable === "language";
  const encode = (images: readonly ModelImage[]) => encodeFresh(model, images);
  const optimizer = new AdamW([{ parameters: trained }], { betas: [0.9, 0.98] });
  const encoder = new WordEncoder(tokenizer);
  const weights = weightsOf(chats);
  const plan = {
    seed: seed + stageNames.indexOf(name) - 1,
    batchSize: chats.batchSize,
    firstStep,
    lastStep: chats.steps,
    lookalikes: chats.lookalikes,
    looks: 4,
  };
  const batches = prefetch("sights", plan, recipe.drawers);
  return {
    async step(at) {
      const sights = await nextOf(batches);
      const loss = () => {
        const examples = sights.map((sight, i) => {
          const rng = stream(seed, name === "chats" ? "nano-chat" : `nano-${name}`, at, i);
          const chat = makeChat(pickKind(rng, chats.mix), sight, rng, weights);
          return toExample(chat, encoder, tokenizer, imagesOf(sight));
        });
        return chatLoss(model, examples, (images) =>
          frozen ? noGrad(() => encode(images)) : encode(images),
        );
      };
      return train(loss, [...trained.values()], optimizer, rateAt(at, chats));
    },
    evaluate: () => ({ ...chatAccuracy(model, tokenizer, recipe.evalSights) }),
    tensors: () => optimizer.state(),
    load: (tensors) => optimizer.loadState(tensors),
    async close() {
      await batches.return();
      optimizer.dispose();
    },
  };
}

/** Shares of a step in the form that conversations take them. */
function weightsOf(
  step: { readonly chanceWeight: number; readonly formWeight: number } & Pick<
    ChatWeights,
    "questionConditioned" | "toursConditioned"
  >,
): ChatWeights {
  const { chanceWeight: chance, formWeight: form, questionConditioned, toursConditioned } = step;
  return { chance, form, questionConditioned, toursConditioned };
}

async function makePool(
  pool: { readonly poolSize: number; readonly most: number; readonly lookalikes: number },
  { model, recipe: { seed, drawers }, signal }: StageContext,
): Promise<FeaturePool> {
  const sights = [];
  const parts: Tensor[] = [];
  const batchSize = 40;
  const lastStep = Math.ceil(pool.poolSize / batchSize);
  const { most: looks, lookalikes } = pool;
  const plan = { seed, batchSize, firstStep: 0, lastStep, looks, lookalikes };
  for await (const batch of prefetch("sights", plan, drawers)) {
    if (signal?.aborted) {
      throw new VigorlError("interrupted", "base: stopped before the look-ups", {
        hint: `go on with: ${programName} base --resume`,
      });
    }
    parts.push(encodeSights(model, batch));
    sights.push(...batch.map(({ things, looks, isTrail }) => ({ things, looks, isTrail })));
  }
  return new FeaturePool(sights, parts);
}

function train(
  loss: () => Tensor,
  parameters: readonly Tensor[],
  optimizer: Optimizer,
  learningRate: number,
): number {
  const value = scope(() => {
    const total = loss();
    total.backward();
    return total.item();
  });
  clipGradNorm(parameters, 1);
  optimizer.step(learningRate);
  optimizer.zeroGrad();
  return value;
}

async function nextOf<T>(batches: AsyncGenerator<T, void>): Promise<T> {
  const { value, done } = await batches.next();
  if (done || value === undefined) throw new Error("no more batches");
  return value;
}
