/**
 * An ablation: arms that differ in few keys of one recipe, each trained with several seeds, and the
 * claims that their differences put to the test. One YAML file says all of it.
 */
import { dirname } from "node:path";
import { z } from "zod";
import { loadConfig, type Override } from "../core/config.ts";
import { pathText } from "../core/config-paths.ts";
import { VigorlError } from "../core/errors.ts";
import { nameSchema } from "../core/inside.ts";
import { findPath } from "../core/paths.ts";
import { conditions } from "../eval/controls.ts";

/** The arm that every ablation has: the engine of the recipe as it is. */
export const startArm = "base";

const armSchema = z.strictObject({
  do: z
    .enum(["search", "sft", "rl"])
    .describe("grow trees and cut them into chains, warm start, or GRPO"),
  from: nameSchema
    .default(startArm)
    .describe("the arm whose weights it begins with; base: those of the recipe"),
  chains: nameSchema.optional().describe("sft: the search whose chains are its examples"),
  set: z
    .record(z.string(), z.unknown())
    .default({})
    .describe("keys of the recipe that it sets, in training and evaluation: `rl.loss: gspo`"),
  seeds: z.array(z.int().min(0)).min(1).optional().describe("default those of the ablation"),
});

const findingSchema = z.strictObject({
  claim: z.string().min(1).describe("what is claimed, in a sentence"),
  arm: z
    .string()
    .describe("the arm that is claimed to be better; `arm/control` for one of its controls"),
  against: z.string().describe("the arm that it is compared with"),
  tasks: z.array(z.string()).min(1).optional().describe("on these tasks together; default all"),
  margin: z
    .number()
    .min(0)
    .default(0)
    .describe("it holds where the whole interval of the difference lies above so many points"),
});

const ablationSchema = z
  .strictObject({
    name: nameSchema.default("ablation").describe("of the run, and of its folder"),
    recipe: pathText("the recipe that every arm starts from"),
    seeds: z
      .array(z.int().min(0))
      .min(1)
      .default([1, 2, 3])
      .describe("each arm runs once with each"),
    arms: z.record(nameSchema, armSchema).describe("arms by name; each after those that it uses"),
    findings: z.array(findingSchema).default([]).describe("claims to be tested"),
  })
  .superRefine(({ arms, findings }, context) => {
    const refuse = (path: (string | number)[], message: string) =>
      context.addIssue({ code: "custom", path, message });
    const earlier = new Map<string, Arm>();
    for (const [name, arm] of Object.entries(arms)) {
      if (name === startArm) refuse(["arms", name], "is the recipe's own model: give another name");
      if (arm.from !== startArm && earlier.get(arm.from) === undefined)
        refuse(["arms", name, "from"], `there is no arm ${arm.from} before this one`);
      else if (earlier.get(arm.from)?.do === "search")
        refuse(["arms", name, "from"], `${arm.from} is a search: it has no weights`);
      if (arm.chains !== undefined) {
        if (arm.do !== "sft") refuse(["arms", name, "chains"], "goes with do: sft");
        if (earlier.get(arm.chains)?.do !== "search")
          refuse(["arms", name, "chains"], `there is no search ${arm.chains} before this arm`);
      }
      earlier.set(name, arm);
    }
    for (const [i, { arm, against }] of findings.entries())
      for (const [key, named] of Object.entries({ arm, against })) {
        const [name, control] = named.split("/");
        const isThere = name === startArm || (name in arms && arms[name].do !== "search");
        if (!isThere) refuse(["findings", i, key], `there is no trained arm ${name}`);
        if (control !== undefined && !conditions.some((one) => one === control))
          refuse(["findings", i, key], `there is no control ${control}`);
      }
  });

export interface Ablation extends z.output<typeof ablationSchema> {
  /** The folder of its file: what paths that its arms set are relative to. */
  readonly folder: string;
}
export type Arm = z.output<typeof armSchema>;

/** One arm with one seed. */
export interface Unit {
  readonly arm: string;
  readonly seed: number;
}

/** Reads an ablation. @throws VigorlError("usage") naming file, line and key */
export function loadAblation(path: string): Ablation {
  const file = findPath(path);
  return { ...loadConfig(file, ablationSchema), folder: dirname(file) };
}

/** An arm of the file, or the base, which is evaluated and not trained. */
export function armOf({ arms }: Ablation, name: string): Arm | null {
  if (name === startArm) return null;
  if (Object.hasOwn(arms, name)) return arms[name];
  throw new VigorlError("usage", `the ablation has no arm ${name}`, {
    hint: `its arms are ${[startArm, ...Object.keys(arms)].join(", ")}`,
  });
}

/** All arms that are evaluated, in the order of the file. */
export function evaluatedArms({ arms }: Ablation): string[] {
  const trained = Object.entries(arms).filter(([, arm]) => arm.do !== "search");
  return [startArm, ...trained.map(([name]) => name)];
}

/** Everything that there is to run, seed by seed, each unit behind those that it needs. */
export function unitsOf(ablation: Ablation): Unit[] {
  const names = [startArm, ...Object.keys(ablation.arms)];
  return ablation.seeds.flatMap((seed) =>
    names
      .filter((name) => (armOf(ablation, name)?.seeds ?? ablation.seeds).includes(seed))
      .map((arm) => ({ arm, seed })),
  );
}

/** The units of the same seed that one needs. */
export function needsOf(ablation: Ablation, { arm: name, seed }: Unit): Unit[] {
  const arm = armOf(ablation, name);
  if (arm === null) return [];
  const named = [arm.from, ...(arm.chains === undefined ? [] : [arm.chains])];
  return named.filter((one) => one !== startArm).map((one) => ({ arm: one, seed }));
}

/** What a unit changes in the recipe. */
export function overridesOf(ablation: Ablation, { arm, seed }: Unit): Override[] {
  const set = armOf(ablation, arm)?.set ?? {};
  const { folder } = ablation;
  return [
    ...Object.entries(set).map(([path, value]) => ({ path, value: JSON.stringify(value), folder })),
    { path: "seed", value: String(seed) },
    { path: "name", value: arm },
  ];
}
