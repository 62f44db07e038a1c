/**
 * Tree search on one engine: nodes a second of 64 trees at once, of one tree at a time (its own calls
 * side by side), and of one call at a time as published, in turns on one machine and on the same
 * model, questions and settings; three trees' worth of questions for each place, so that beginning and
 * end weigh little. And memory over many trees of a teacher that costs nothing.
 *
 *   npm run bench -- search [--json] [--rounds 1] [--threads 2] [--model models/nano]
 *                           [--questions 192] [--alone 12] [--memory-trees 10000]
 */
import { mkdtemp, rm } from "node:fs/promises";
import { cpus, tmpdir } from "node:os";
import { join } from "node:path";
import { parseArgs } from "node:util";
import { setFlagsFromString } from "node:v8";
import { runInNewContext } from "node:vm";
import pLimit from "p-limit";
import { openLocalEngine, type LocalEngine } from "../src/engine/local/client.ts";
import { samplingOnly } from "../src/engine/capabilities.ts";
import type { Sample, Sampler } from "../src/engine/types.ts";
import { nanoRecords } from "../src/nano/tasks.ts";
import { runSearch, type SearchProgress } from "../src/search/run-search.ts";
import { searchConfig } from "../src/search/search-config.ts";
import {
  episodeSettingsSchema,
  loadEpisodeConfig,
  type EpisodeConfig,
} from "../src/task/episode-config.ts";
import type { TaskRecord } from "../src/task/record.ts";
import { machine, median } from "./peers.ts";

const { values } = parseArgs({
  options: {
    json: { type: "boolean", default: false },
    rounds: { type: "string", default: "1" },
    threads: { type: "string", default: String(cpus().length) },
    model: { type: "string", default: "models/nano" },
    questions: { type: "string", default: "192" },
    alone: { type: "string", default: "12" },
    "memory-trees": { type: "string", default: "10000" },
  },
});

const arms = {
  atOnce: { trees: 64, calls: 64, questions: Number(values.questions) },
  oneTree: { trees: 1, calls: 64, questions: Number(values.alone) },
  oneCall: { trees: 1, calls: 1, questions: Number(values.alone) },
} as const;
type Arm = keyof typeof arms;

setFlagsFromString("--expose-gc");
const collectGarbage = runInNewContext("gc") as () => void;
const work = await mkdtemp(join(tmpdir(), "vigorl-search-"));
try {
  await benchmark();
} finally {
  await rm(work, { recursive: true, force: true });
}

async function benchmark(): Promise<void> {
  const settings = {
    tools: { zoom: { windowPx: 8, outputPx: 112 } },
    episode: { maxTurns: 3, maxToolImages: 2, maxTotalTokens: 256 },
    prompts: { style: "nano" },
  };
  const episode = await loadEpisodeConfig(values.model, episodeSettingsSchema.parse(settings));
  const engine = await openLocalEngine(values.model, {
    threads: Number(values.threads),
    maxPositions: 512,
  });
  const speeds: Record<Arm, number[]> = { atOnce: [], oneTree: [], oneCall: [] };
  try {
    // Code is compiled, caches and threads are made.
    await searched(engine, episode, "atOnce", -1);
    for (let round = 0; round < Number(values.rounds); round++) {
      for (const arm of Object.keys(arms) as Arm[]) {
        const { nodes, seconds } = await searched(engine, episode, arm, round);
        speeds[arm].push(nodes / seconds);
      }
    }
  } finally {
    await engine.close();
  }
  const [atOnce, oneTree, oneCall] = [speeds.atOnce, speeds.oneTree, speeds.oneCall].map(median);
  const memory = await memoryOver(Number(values["memory-trees"]), episode);
  const ratio = (value: number) => Number(value.toFixed(3));
  const result = {
    name: "search",
    ratios: { nodesPerSecond: ratio(atOnce / oneCall), againstOneTree: ratio(atOnce / oneTree) },
    nodesPerSecond: { atOnce, oneTree, oneCall },
    memory,
    machine: machine(),
  };
  if (values.json) console.log(JSON.stringify(result));
  else console.log(JSON.stringify(result, null, 2));
}

async function searched(
  sampler: LocalEngine,
  episode: EpisodeConfig,
  arm: Arm,
  round: number,
): Promise<SearchProgress> {
  const { trees, calls, questions } = arms[arm];
  const count = questions;
  const records = nanoRecords({ task: "search", split: "train", count, seed: 10 + round });
  const config = searchConfig.parse({ simulations: 4, run: { trees } });
  const folder = join(work, `${arm}-${round}`);
  const limited = atMost(calls, sampler);
  return runSearch({ records, sampler: limited, episode, config, folder, seed: 1 });
}

/** The engine with so many calls in flight at once. */
function atMost(calls: number, engine: Sampler): Sampler {
  const limit = pLimit(calls);
  return {
    capabilities: engine.capabilities,
    sample: (...args) => limit(() => engine.sample(...args)),
    close: () => engine.close(),
  };
}

/** Heap and buffers in use after a full collection, every tenth of the way. */
async function memoryOver(
  numTrees: number,
  episode: EpisodeConfig,
): Promise<{ trees: number[]; mb: number[]; growthMb: number }> {
  const trees: number[] = [];
  const mb: number[] = [];
  const image = { widthPx: 448, heightPx: 448, data: new Uint8Array(448 * 448 * 3) };
  function* records(): Generator<TaskRecord> {
    for (let i = 0; i < numTrees; i++) {
      yield {
        id: `question-${i}`,
        images: [{ kind: "render", name: "grey", render: () => painted(image, i) }],
        question: "Which digit is on the red star?",
        kind: "number",
        answer: "7",
      };
    }
  }
  await runSearch({
    records: records(),
    sampler: costless(episode),
    episode,
    config: searchConfig.parse({ simulations: 2, run: { trees: 64 } }),
    folder: join(work, "memory"),
    seed: 1,
    onProgress: ({ done }) => {
      if (done % Math.max(1, Math.floor(numTrees / 10)) !== 0) return;
      collectGarbage();
      const { heapUsed, arrayBuffers } = process.memoryUsage();
      trees.push(done);
      mb.push(Math.round((heapUsed + arrayBuffers) / 2 ** 20));
    },
  });
  return { trees, mb, growthMb: (mb.at(-1) ?? 0) - (mb[0] ?? 0) };
}

/** Another picture for each tree, so that none can be shared. */
function painted<T extends { data: Uint8Array }>(image: T, index: number): T {
  const data = new Uint8Array(image.data.length).fill(index % 251);
  data[0] = index >> 8;
  return { ...image, data };
}

/** Zooms somewhere, then answers; the seed says where and what. */
function costless({ chat }: EpisodeConfig): Sampler {
  const look = Array.from({ length: 64 }, (_, i) => {
    const [x, y] = [12 + (i % 8) * 12, 12 + Math.floor(i / 8) * 12];
    return chat.tokenizer.encode(
      `<think> red star (${x}, ${y}) </think>\n<tool_call>\n{"name": "search_coordinate", "arguments": {"coordinate": [${x}, ${y}]}}\n</tool_call>`,
    );
  });
  const answers = Array.from({ length: 10 }, (_, digit) =>
    chat.tokenizer.encode(`<think> it is ${digit} </think>\n<answer> ${digit} </answer>`),
  );
  return {
    capabilities: {
      name: "costless",
      ...samplingOnly,
      tokenExact: true,
      maxPositions: 4096,
    },
    sample: (prompt, { seed }): Promise<Sample> => {
      const numImages = prompt.filter((chunk) => chunk.type === "image").length;
      const tokens = numImages === 1 ? look[seed % 64] : answers[seed % 10];
      const logprobs = tokens.map(() => 0);
      return Promise.resolve({ tokens, logprobs, stopReason: "stop", weightsVersion: 0 });
    },
    close: () => Promise.resolve(),
  };
}
