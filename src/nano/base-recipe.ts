/** The recipe of base training: seven steps, each with its length, its batch and its rate. */
import { cpus } from "node:os";
import { z } from "zod";
import { nameSchema } from "../core/inside.ts";
import { chatKinds } from "./chats.ts";

const stage = (steps: number, learningRate: number) => ({
  steps: z.int().min(0).default(steps),
  batchSize: z.int().min(1).default(32),
  /** After 50 steps of warm-up; from the middle on it falls linearly to 3 %. */
  learningRate: z.number().positive().default(learningRate),
});
const mix = z.partialRecord(z.enum(chatKinds), z.number().nonnegative());
const weights = (chance: number, form: number) => ({
  /** Weight in the loss of names that are drawn by chance. */
  chanceWeight: z.number().nonnegative().default(chance),
  /** Weight of tags, blanks and other fixed forms. */
  formWeight: z.number().nonnegative().default(form),
});

const scenes = (lookalikes: number, questionConditioned = 0, toursConditioned = 0) => ({
  /** Share of scenes whose things have two colours only. */
  lookalikes: z.number().min(0).max(1).default(lookalikes),
  /** Share of searches, relations and clicks that look at what the question names. */
  questionConditioned: z
    .number()
    .min(0)
    .max(1)
    .default(questionConditioned)
    .meta({ formerly: ["heed"] }),
  /** Share of conversations with several looks that look where their question needs it. */
  toursConditioned: z.number().min(0).max(1).default(toursConditioned),
});
const talk = (trainable: "all" | "language", ...shares: Parameters<typeof scenes>) => ({
  /** "language" leaves the tower as it is. */
  trainable: z.enum(["all", "language"]).default(trainable),
  ...scenes(...shares),
});

export const baseRecipeSchema = z.strictObject({
  name: nameSchema.default("nano-base"),
  seed: z.int().default(1),
  /** auto, cpu, cuda or cuda:N. */
  device: z.string().default("auto"),
  /** Threads of libtorch; one is left for drawing. */
  threads: z.int().min(1).max(1024).default(1),
  /** Threads that draw; whatever their number, the same is drawn. */
  drawers: z
    .int()
    .min(1)
    .max(1024)
    .default(Math.max(1, Math.min(12, cpus().length - 2))),
  /** Steps between lines of metrics, evaluations on held-out scenes, and checkpoints. */
  logEvery: z.int().min(1).default(50),
  evalEvery: z.int().min(1).default(100),
  saveEvery: z.int().min(1).default(250),
  evalSights: z.int().min(1).default(128),
  tower: z.strictObject({ ...stage(5000, 3e-3) }).prefault({}),
  lookups: z
    .strictObject({
      ...stage(3000, 1e-3),
      /** Scenes whose features are made once by the frozen tower. */
      poolSize: z.int().min(1).default(12000),
      ...weights(0.2, 0.1),
      mix: mix.default({ list: 0.6, search: 0.22, sides: 0.18 }),
    })
    .prefault({}),
  chats: z
    .strictObject({
      ...stage(1200, 5e-4),
      ...weights(0.5, 0.5),
      ...talk("all", 0),
      mix: mix.default({
        search: 0.26,
        searchUnaided: 0.08,
        relation: 0.1,
        click: 0.06,
        place: 0.06,
        thing: 0.03,
        shape: 0.08,
        digit: 0.03,
        sign: 0.03,
        list: 0.13,
        sides: 0.08,
        find: 0.08,
        compare: 0.05,
        chase: 0.07,
      }),
    })
    .prefault({}),
  lookalikes: z
    .strictObject({
      ...stage(500, 1e-3),
      ...weights(0.5, 0.5),
      ...talk("language", 0.6),
      mix: mix.default({
        search: 0.2,
        searchUnaided: 0.06,
        relation: 0.08,
        click: 0.04,
        place: 0.06,
        thing: 0.03,
        shape: 0.1,
        digit: 0.02,
        sign: 0.02,
        list: 0.28,
        sides: 0.09,
        find: 0.06,
        compare: 0.04,
        chase: 0.06,
      }),
    })
    .prefault({}),
  habits: z
    .strictObject({
      ...stage(600, 1e-3),
      ...weights(1, 0.3),
      ...talk("language", 0.2, 0.3, 0.1),
      mix: mix.default({
        search: 0.3,
        searchUnaided: 0.08,
        relation: 0.12,
        click: 0.1,
        place: 0.05,
        thing: 0.02,
        shape: 0.08,
        digit: 0.01,
        sign: 0.01,
        list: 0.06,
        sides: 0.09,
        find: 0.12,
        compare: 0.08,
        chase: 0.12,
      }),
    })
    .prefault({}),
  looks: z
    .strictObject({
      ...stage(3000, 1e-3),
      poolSize: z.int().min(1).default(8000),
      ...weights(1, 0.3),
      ...scenes(0.2, 0.3, 0.3),
      mix: mix.default({
        search: 0.16,
        searchUnaided: 0.04,
        relation: 0.08,
        click: 0.06,
        place: 0.03,
        thing: 0.01,
        shapes: 0.08,
        digit: 0.01,
        sign: 0.01,
        list: 0.04,
        sides: 0.05,
        seek: 0.24,
        compare: 0.16,
        chase: 0.2,
      }),
    })
    .prefault({}),
  verdicts: z
    .strictObject({
      ...stage(1200, 1e-3),
      poolSize: z.int().min(1).default(4000),
      ...weights(1, 0.3),
      ...scenes(0.2, 0.3, 0.3),
      mix: mix.default({
        verdicts: 0.28,
        seek: 0.2,
        compare: 0.1,
        chase: 0.12,
        search: 0.12,
        searchUnaided: 0.03,
        relation: 0.06,
        click: 0.05,
        place: 0.03,
        shapes: 0.04,
        digit: 0.01,
        sign: 0.02,
        list: 0.06,
        sides: 0.04,
      }),
    })
    .prefault({}),
});

/** Keys that change where a run computes and how often it writes, not what it learns. */
export const baseMayChange = [
  "name",
  "device",
  "threads",
  "drawers",
  "logEvery",
  "evalEvery",
  "saveEvery",
];

export type BaseRecipe = z.output<typeof baseRecipeSchema>;
