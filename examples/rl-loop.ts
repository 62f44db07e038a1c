/**
 * GRPO with zoom on one page (Shao et al. 2024; with images and a tool, the ViGoRL paper §4.3). A step
 * asks P questions G times each. The answers to one question are each other's baseline: what was
 * better than their mean becomes likelier, what was worse less likely, by the tokens that the model
 * itself wrote. Nobody says where to look; looking there makes answers right.
 *   npx tsx examples/rl-loop.ts                                  # the nano model
 *   npx tsx examples/rl-loop.ts --steps 40 --model path/to/model --out runs/mine
 * Left out, and in `vigorl rl`: several updates a batch, a reference model, the parity gate, checkpoints.
 *
 * Axes: P questions, G answers to one, N episodes that are learned from, T positions of an episode.
 */
import { parseArgs } from "node:util";
import {
  episodeToDatum,
  judge,
  loadEpisodeConfig,
  loadRecipe,
  loadTasks,
  openLocalEngine,
  runEpisode,
  VigorlError,
  type Datum,
  type Loss,
  type OptimParams,
  type TaskRecord,
  type Trajectory,
} from "vigorl";

const { values: flags } = parseArgs({
  options: {
    model: { type: "string", default: "models/nano" },
    out: { type: "string", default: "runs/rl-loop" },
    steps: { type: "string", default: "60" },
    questions: { type: "string", default: "16" },
    answers: { type: "string", default: "8" },
  },
});
const [numSteps, P, G] = [flags.steps, flags.questions, flags.answers].map(Number);

// The clipped ratio of PPO, without a KL term; the weights of a datum make it a mean over tokens.
const clipped: Loss = {
  kind: "grpo",
  clipLow: 0.2,
  clipHigh: 0.28,
  dualClip: 3,
  klCoef: 0,
  onPolicy: false,
};
const adam: OptimParams = {
  learningRate: 2e-4,
  beta1: 0.9,
  beta2: 0.95,
  eps: 1e-8,
  weightDecay: 0,
  clipNorm: 0.3,
};

// Questions, prompts, and what a zoom shows are the recipe's.
const recipe = loadRecipe("recipes/nano.yaml", []);
const records = (await loadTasks(recipe, "train")).flatMap((set) => [...set.records]);
const sampling = { temperature: 1, topP: 1, topK: 0, endOfTurn: true };
const config = {
  ...(await loadEpisodeConfig(flags.model, { ...recipe, sampling })),
  sampling,
};
const engine = await openLocalEngine(flags.model, { trainable: "language" });

interface Played {
  readonly episode: Trajectory;
  readonly right: number;
  readonly reward: number;
}

/** One episode: the model writes, a call of the tool is answered with a crop, until it answers. */
async function play(record: TaskRecord, seed: number): Promise<Played> {
  const episode = await runEpisode(engine, record, config, seed);
  const right = judge(record, episode.answer, { view: episode.view });
  return { episode, right, reward: right + (episode.wellFormed ? 0.1 : 0) };
}

/** The data of a group: advantage r_g − mean(r) on every token of episode g; none where all are equal. */
function compare(group_G: readonly Played[]): Datum[] {
  const whole = group_G.filter(({ episode }) => episode.error === null);
  const mean = average(whole, ({ reward }) => reward);
  return whole
    .filter(({ reward }) => Math.abs(reward - mean) > 1e-9)
    .map(({ episode, reward }) => {
      // Tokens and images as they were, the log-probabilities that the tokens were drawn with, and
      // weight 1 on those of the model, 0 on prompt and crops.
      const datum = episodeToDatum(episode);
      return { ...datum, advantages: new Float32Array(datum.weights.length).fill(reward - mean) };
    });
}

let numUpdates = 0;
for (let step = 0; step < numSteps; step++) {
  // Sample: all episodes are in flight at once, and none waits for another.
  const groups_P_G = await Promise.all(
    Array.from({ length: P }, (_, p) => {
      const question = step * P + p;
      const record = records[question % records.length];
      return Promise.all(Array.from({ length: G }, (_, g) => play(record, question * G + g)));
    }),
  );

  // Compare, and make it a mean over all tokens that are learned from.
  const data_N = groups_P_G.flatMap(compare);
  const numTokens = data_N.reduce((sum, { weights }) => sum + weights.filter(Boolean).length, 0);
  const weighed_N = data_N.map((datum) => ({
    ...datum,
    weights: datum.weights.map((weight) => weight / numTokens),
  }));

  // Learn.
  if (numTokens > 0) {
    await engine.forwardBackward(weighed_N, clipped);
    await engine.optimStep(adam);
    numUpdates++;
  }

  const played = groups_P_G.flat();
  const figures = {
    reward: average(played, ({ reward }) => reward),
    right: average(played, ({ right }) => right),
    crops: average(played, ({ episode }) => episode.pictures.length - 1),
  };
  const words = Object.entries(figures).map(([name, value]) => `${name} ${value.toFixed(2)}`);
  process.stdout.write(`step ${step + 1}: ${words.join("  ")}  learned from ${data_N.length}\n`);
}
if (numUpdates > 0) await engine.save(flags.out);
await engine.close();
if (numUpdates === 0)
  throw new VigorlError("input", "nothing was learned: within every group all rewards were equal");

function average<T>(values: readonly T[], of: (value: T) => number): number {
  return values.reduce((sum, value) => sum + of(value), 0) / values.length;
}
