/**
 * The tensor layer against PyTorch in Python on the same version of libtorch, in turns on one machine:
 * a product of two matrices (1024×1024, float32), a train step of a plain transformer with 3.4 million
 * parameters, a train step of the nano model on 64 conversations against transformers' own
 * Qwen2.5-VL, and the cost of calling an operator that does next to nothing. Both sides read the same
 * weights and data and must arrive at the same losses.
 *
 *   npm run bench -- torch [--json] [--rounds 7] [--threads 2] [--model models/nano]
 *     [--device cpu] [--dtype float32]   (dtype of the model from a folder; the rest is float32)
 */
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { z } from "zod";
import { VigorlError } from "../src/core/errors.ts";
import { manualSeed, setNumThreads } from "../src/torch/device.ts";
import { randn, type Tensor } from "../src/torch/ops.ts";
import { writeSafetensors } from "../src/torch/safetensors-write.ts";
import { liveTensors, scope } from "../src/torch/scope.ts";
import { tensor } from "../src/torch/tensor.ts";
import { benchOptions, readySchema, median, Peer, peerPython, printResult } from "./peers.ts";
import { Transformer, type TransformerSizes } from "./torch-transformer.ts";
import { VlmStep, vlmData } from "./torch-vlm.ts";

const matrixSize = 1024;
const sizes: TransformerSizes = { vocab: 1024, width: 256, layers: 4, heads: 4 };
const batch = { size: 8, length: 128 };
const learningRate = 1e-3;
/** What one turn of either side does. */
const perTurn = { matmul1024: 10, trainStep: 4, vlmTrainStep: 2, tinyOp: 20_000 } as const;
type Name = keyof typeof perTurn;
const names = Object.keys(perTurn) as Name[];

const { values, rounds, threads, device, dtype } = benchOptions(7, { devices: true });

const turnSchema = z.object({
  seconds: z.number(),
  cpuSeconds: z.number(),
  results: z.array(z.number()),
});
type Turn = z.infer<typeof turnSchema>;

peerPython();
const work = await mkdtemp(join(tmpdir(), "vigorl-torch-"));
try {
  await benchmark();
} finally {
  await rm(work, { recursive: true, force: true });
}

async function benchmark(): Promise<void> {
  setNumThreads(threads);
  manualSeed(1);
  const matrices = [1, 2].map(() => randn([matrixSize, matrixSize], { device }));
  const ids = Array.from({ length: batch.size * (batch.length + 1) }, (_, i) => (i * i) % 997);
  const tokens = tensor(ids, {
    dtype: "int64",
    shape: [batch.size, batch.length + 1],
    device,
  });
  const transformer = new Transformer(sizes, batch.length, device);
  const vlm = await VlmStep.open(values.model, { device, dtype });
  const shared = new Map<string, Tensor>([
    ...transformer.parameters,
    ...vlmData(vlm),
    ["left", matrices[0]],
    ["right", matrices[1]],
    ["tokens", tokens],
  ]);
  writeSafetensors(join(work, "shared.safetensors"), shared);
  const flags = {
    shared: join(work, "shared.safetensors"),
    model: values.model,
    threads,
    heads: sizes.heads,
    rate: learningRate,
    device,
    dtype,
  };
  const peer = new Peer(
    "torch_peer.py",
    Object.entries(flags).map(([flag, value]) => `--${flag}=${value}`),
  );
  const { versions } = readySchema.parse(await peer.ask());

  const [one, two] = [tensor([1, 2, 3, 4], { device }), tensor([4, 3, 2, 1], { device })];
  const steps: Record<Name, () => number> = {
    matmul1024: () => scope(() => matrices[0].matmul(matrices[1]).select(0, 0).select(0, 0).item()),
    trainStep: () => transformer.step(tokens, learningRate),
    vlmTrainStep: () => vlm.step(learningRate),
    tinyOp: () => 0,
  };
  const turn = (name: Name): Turn => {
    const start = performance.now();
    const startCpu = process.cpuUsage();
    let results: number[] = [];
    if (name === "tinyOp") {
      for (let done = 0; done < perTurn.tinyOp; done += 1000)
        scope(() => {
          for (let i = 0; i < 1000; i++) one.add(two);
        });
    } else results = Array.from({ length: perTurn[name] }, () => steps[name]());
    const { user, system } = process.cpuUsage(startCpu);
    const seconds = (performance.now() - start) / 1000;
    return { seconds, cpuSeconds: (user + system) / 1e6, results };
  };

  const turns = names.map((name) => ({ name, ours: [] as Turn[], theirs: [] as Turn[] }));
  // Round 0 warms both sides up.
  for (let round = 0; round <= rounds; round++) {
    for (const { name, ours, theirs } of turns) {
      const mine = turn(name);
      const other = turnSchema.parse(await peer.ask({ name, count: perTurn[name] }));
      agree(name, round, mine.results, other.results);
      if (round === 0) continue;
      ours.push(mine);
      theirs.push(other);
    }
    if (!values.json && round > 0)
      console.log(
        `round ${round}: ${turns
          .map(({ name, ours, theirs }) => {
            const ratio = theirs.at(-1)!.seconds / ours.at(-1)!.seconds;
            return `${name} ${ratio.toFixed(2)}`;
          })
          .join(", ")}`,
      );
  }
  peer.close();

  const live = liveTensorsOver(1000);
  const perSecond = (name: Name, all: readonly Turn[]): number =>
    perTurn[name] / median(all.map(({ seconds }) => seconds));
  const speed = (side: "ours" | "theirs"): Record<string, unknown> =>
    Object.fromEntries(
      turns.map((of) => {
        const cpu = median(of[side].map(({ cpuSeconds }) => cpuSeconds)) / perTurn[of.name];
        const rate = perSecond(of.name, of[side]);
        return [of.name, { perSecond: figures(rate), cpuMs: figures(cpu * 1000) }];
      }),
    );
  const ratios = turns.map(({ name, ours, theirs }) => {
    return [name, perSecond(name, ours) / perSecond(name, theirs)] as const;
  });
  if (!values.json)
    console.log(`live tensors after 10 and 1,000 steps: ${live.early}, ${live.late}`);
  printResult({
    name: "torch",
    ratios: Object.fromEntries(ratios) as Record<Name, number>,
    ours: {
      ...speed("ours"),
      vlmSamplesPerSecond: figures(64 * perSecond("vlmTrainStep", turns[2].ours)),
      liveTensorsAfter10Steps: live.early,
      liveTensorsAfter1000Steps: live.late,
      lossTrainStep: turns[1].ours.at(-1)!.results.at(-1),
      lossVlmTrainStep: turns[2].ours.at(-1)!.results.at(-1),
    },
    peer: {
      ...speed("theirs"),
      vlmSamplesPerSecond: figures(64 * perSecond("vlmTrainStep", turns[2].theirs)),
      ...versions,
    },
  });
}

/**
 * A wrong computation is not fast: the same numbers on both sides, or no result. In bfloat16 only the
 * model's first loss is compared: ours then updates masters in float32, the peer its rounded weights.
 */
function agree(name: Name, round: number, mine: readonly number[], other: readonly number[]): void {
  const rounded = name === "vlmTrainStep" && dtype === "bfloat16";
  const compared = rounded ? (round === 0 ? mine.slice(0, 1) : []) : mine;
  const tolerance = rounded ? 1e-2 : 1e-3;
  const close = compared.every(
    (value, i) => Math.abs(value - other[i]) <= tolerance * (1 + Math.abs(value)),
  );
  if (close && mine.length === other.length) return;
  throw new VigorlError(
    "numerics",
    `${name}, round ${round}: ours [${mine.join(", ")}], the peer's [${other.join(", ")}]`,
  );
}

/** Tensors alive after 10 and after `steps` train steps of a small transformer. */
function liveTensorsOver(steps: number): { early: number; late: number } {
  const small = new Transformer({ vocab: 64, width: 32, layers: 2, heads: 2 }, 16, device);
  const ids = Array.from({ length: 2 * 17 }, (_, i) => (i * i) % 61);
  const tokens = tensor(ids, { dtype: "int64", shape: [2, 17], device });
  let early = 0;
  for (let step = 1; step <= steps; step++) {
    small.step(tokens, learningRate);
    if (step === 10) early = liveTensors();
  }
  const late = liveTensors();
  small.dispose();
  tokens.dispose();
  if (early !== late)
    throw new VigorlError("numerics", `live tensors grew from ${early} to ${late}`);
  return { early, late };
}

function figures(value: number): number {
  return Number(value.toPrecision(4));
}
