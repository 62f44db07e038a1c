/**
 * The law of sampling, on random company: requests that go on after one another, branch off, come in
 * groups, are called off and are evicted give the bits of requests that are alone.
 */
import { mkdtemp, readFile, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import fc from "fast-check";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { testDevice } from "../../../test/fixtures/device.ts";
import { makeTinyModel } from "../../../test/fixtures/tiny.ts";
import { stream } from "../../core/random.ts";
import { patches14 } from "../../image/fixtures/preprocessor.ts";
import { toModelImage, type ModelImage } from "../../image/model-image.ts";
import { Decoder } from "../../model/decoder.ts";
import type { TextConfig } from "../../model/config.ts";
import type { CacheForm } from "../../model/kv-cache.ts";
import { parseModelConfig } from "../../model/families/table.ts";
import { maxDifference } from "../../model/fixtures/golden.ts";
import { initModel } from "../../model/init.ts";
import type { DType } from "../../torch/tensor.ts";
import type { Chunk, Sample } from "../types.ts";
import { openSampling, type SamplingModel } from "./sampling.ts";
import { Scheduler } from "./scheduler.ts";
import { contentKey } from "./sequence.ts";
import { localSizes } from "./sizes.ts";

let folder: string;
const opened: SamplingModel[] = [];

beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), "vigorl-scheduler-"));
  await makeTinyModel(folder);
});

afterAll(async () => {
  for (const { decoder, features, model } of opened)
    for (const own of [decoder, features, model]) own.dispose();
  await rm(folder, { recursive: true, force: true });
});

interface Request {
  readonly prompt: readonly Chunk[];
  readonly maxTokens: number;
  readonly seed: number;
}

/** A scheduler, what it answered, and what it could not. */
class Desk {
  readonly scheduler: Scheduler;
  readonly model: SamplingModel;
  readonly done = new Map<number, Sample>();
  readonly failed = new Map<number, unknown>();

  constructor(model: SamplingModel) {
    this.model = model;
    this.scheduler = new Scheduler(model, {
      token: () => {},
      sampled: (id, sample) => this.done.set(id, sample),
      failed: (id, error) => this.failed.set(id, error),
    });
  }

  submit(id: number, { prompt, maxTokens, seed }: Request): void {
    const params = { maxTokens, seed, temperature: 1, topP: 1, topK: 0, stop: [] };
    this.scheduler.submit({ id, prompt, params, tellsTokens: false });
  }

  finish(): void {
    while (!this.scheduler.idle) this.scheduler.step();
    const [error] = this.failed.values();
    if (error !== undefined) throw error;
  }

  /** The sample of one request, which must be the only one. */
  answer(request: Request): Sample {
    this.done.clear();
    this.submit(0, request);
    this.finish();
    return this.done.get(0)!;
  }
}

interface Form {
  /** Query heads on one key-value head. */
  readonly heads?: 2 | 4;
  readonly dtype?: DType;
  readonly form?: CacheForm;
  readonly maxCells?: number;
  readonly maxPositions?: number;
  /** Three layers, the first and the last of them delta nets. */
  readonly delta?: boolean;
  /** Whatever a slot holds may be shared, as on a GPU. */
  readonly sharesAll?: boolean;
}

const deltaLayers: Partial<TextConfig> = {
  numLayers: 3,
  headNorms: true,
  attentionBias: false,
  centredNorms: true,
  outputGates: true,
  delta: {
    layers: [true, false, true],
    numKeyHeads: 1,
    numValueHeads: 2,
    keyDim: 8,
    valueDim: 8,
    kernel: 4,
  },
};

async function open(
  numSlots: number,
  {
    heads = 2,
    dtype = "float32",
    form,
    maxCells,
    maxPositions = 400,
    delta = false,
    sharesAll = false,
  }: Form = {},
): Promise<Desk> {
  const json = JSON.parse(await readFile(join(folder, "config.json"), "utf8")) as {
    text_config: { num_attention_heads: number; rope_parameters: { mrope_section: number[] } };
  };
  json.text_config.num_attention_heads = heads;
  json.text_config.rope_parameters.mrope_section = heads === 2 ? [4, 6, 6] : [2, 3, 3];
  const plain = parseModelConfig(json, "tiny");
  const config = delta ? { ...plain, text: { ...plain.text, ...deltaLayers } } : plain;
  const model = initModel(config, { seed: 1, device: testDevice, dtype });
  const options = { numSlots, maxPositions };
  const sizes = await localSizes(folder, { ...options, device: testDevice, dtype });
  let sampling = await openSampling(folder, model, sizes);
  if (form !== undefined) {
    sampling.decoder.dispose();
    sampling = { ...sampling, decoder: new Decoder(model, { ...options, form, maxCells }) };
  }
  if (sharesAll) Object.assign(sampling.decoder, { pieceLength: null });
  opened.push(sampling);
  return new Desk(sampling);
}

const text = (seed: number, length: number): Chunk => {
  const random = stream(seed, "text");
  return { type: "text", tokens: Array.from({ length }, () => random.int(20, 120)) };
};

function picture(seed: number): ModelImage {
  const random = stream(seed, "picture");
  const data = Uint8Array.from({ length: 56 * 56 * 3 }, () => random.int(0, 255));
  const budget = { minPixels: 56 * 56, maxPixels: 56 * 56 };
  return toModelImage({ widthPx: 56, heightPx: 56, data }, budget, patches14);
}

const pictures = Array.from({ length: 3 }, (_, seed) => picture(seed));
const image = (seed: number): Chunk => ({ type: "image", image: pictures[seed % pictures.length] });

/** Questions of which some begin alike, also behind the end of a piece. */
const questions: Chunk[][] = [
  [text(1, 9), image(0), text(2, 6)],
  [text(1, 9), image(0), text(3, 6)],
  [text(1, 9), image(1), text(2, 100)],
  [text(1, 9), image(1), text(2, 100), text(4, 3)],
  [image(2)],
];

type Action =
  | {
      readonly kind: "ask";
      readonly question: number;
      readonly copies: number;
      readonly seed: number;
    }
  | { readonly kind: "goOn"; readonly after: number; readonly seed: number }
  | { readonly kind: "step"; readonly times: number }
  | { readonly kind: "abort"; readonly which: number };

const seed = fc.nat({ max: 5 });
const actions: fc.Arbitrary<Action[]> = fc.array(
  fc.oneof(
    fc.record({
      kind: fc.constant("ask" as const),
      question: fc.nat({ max: questions.length - 1 }),
      copies: fc.integer({ min: 1, max: 4 }),
      seed,
    }),
    fc.record({ kind: fc.constant("goOn" as const), after: fc.nat(), seed }),
    fc.record({ kind: fc.constant("step" as const), times: fc.integer({ min: 1, max: 8 }) }),
    fc.record({ kind: fc.constant("abort" as const), which: fc.nat() }),
  ),
  { minLength: 5, maxLength: 30 },
);

/** Plays actions; what was asked and not called off, by id. */
function play(desk: Desk, steps: readonly Action[]): Map<number, Request> {
  desk.done.clear();
  const asked = new Map<number, Request>();
  let id = 0;
  const submit = (request: Request): void => {
    asked.set(++id, request);
    desk.submit(id, request);
  };
  for (const action of steps) {
    if (action.kind === "ask") {
      for (let i = 0; i < action.copies; i++) {
        const prompt = questions[action.question];
        submit({ prompt, maxTokens: 1 + ((action.seed + 5 * i) % 12), seed: action.seed + i });
      }
    } else if (action.kind === "goOn") {
      const ended = [...desk.done];
      if (ended.length === 0) continue;
      const [before, { tokens }] = ended[action.after % ended.length];
      const { prompt } = asked.get(before)!;
      const next = action.seed % 2 === 0 ? [image(action.seed)] : [];
      const chunks: Chunk[] = [...prompt, { type: "text", tokens }, ...next, text(action.seed, 3)];
      if (contentKey(chunks).length > 1500) continue;
      submit({ prompt: chunks, maxTokens: 6, seed: action.seed });
    } else if (action.kind === "step") {
      for (let i = 0; i < action.times; i++) desk.scheduler.step();
    } else if (asked.size > 0) {
      const which = [...asked.keys()][action.which % asked.size];
      if (desk.done.has(which)) continue;
      desk.scheduler.abort(which);
      asked.delete(which);
    }
  }
  desk.finish();
  return asked;
}

describe.skipIf(testDevice !== "cpu")("the law, on a CPU", () => {
  test.each<[string, Form]>([
    ["operators of our own", {}],
    ["libtorch's operators", { form: "matrices" }],
    ["libtorch's operators, four heads on one", { form: "matrices", heads: 4 }],
    ["half precision", { dtype: "bfloat16" }],
    ["operators of our own, with delta nets,", { delta: true }],
    ["libtorch's operators, with delta nets,", { delta: true, form: "matrices" }],
    ["half precision, with delta nets,", { delta: true, dtype: "bfloat16" }],
  ])("in %s company changes no bit", async (_, form) => {
    const [crowd, single] = [await open(3, form), await open(3, form)];
    const alone = new Map<string, Sample>();
    fc.assert(
      fc.property(actions, (steps) => {
        const asked = play(crowd, steps);
        expect(crowd.done.size).toBe(asked.size);
        for (const [id, request] of asked) {
          const { prompt, maxTokens, seed: own } = request;
          const key = `${contentKey(prompt)} ${maxTokens} ${own}`;
          single.scheduler.weightsChanged(0);
          const expected = alone.get(key) ?? single.answer(request);
          alone.set(key, expected);
          expect(crowd.done.get(id)).toEqual(expected);
        }
      }),
      { numRuns: 20 },
    );
    const { cachedPositions, evictions } = crowd.scheduler.counts;
    expect(cachedPositions).toBeGreaterThan(0);
    expect(evictions).toBeGreaterThan(0);
  });
});

test("states of delta nets are taken up wherever they were kept, as prompts alone come to", async () => {
  const form: Form = { delta: true, sharesAll: true, form: "rows" };
  const [crowd, single] = [await open(3, form), await open(3, form)];
  let numCompared = 0;
  fc.assert(
    fc.property(actions, (steps) => {
      for (const [id, request] of play(crowd, steps)) {
        single.scheduler.weightsChanged(0);
        const expected = single.answer(request);
        const got = crowd.done.get(id)!;
        const same = expected.tokens.findIndex((token, t) => token !== got.tokens[t]);
        // Where a draw falls between two tokens, rounding decides; what comes before is the same.
        const count = same < 0 ? expected.tokens.length : same;
        numCompared += count;
        const both = [got, expected].map(({ logprobs }) => logprobs.slice(0, count));
        expect(maxDifference(both[0], both[1])).toBeLessThan(1e-4);
      }
    }),
    { numRuns: 20 },
  );
  expect(numCompared).toBeGreaterThan(500);
  expect(crowd.scheduler.counts.cachedPositions).toBeGreaterThan(0);
});

test("over rows, prompts of a round are one pass and come to what each gives alone", async () => {
  const [crowd, single] = [await open(4, { form: "rows" }), await open(4, { form: "rows" })];
  const requests = [
    [text(1, 30), { type: "image" as const, image: picture(1) }, text(2, 9)],
    [text(1, 30), text(3, 90)],
    [text(4, 7)],
  ].map((prompt, seed) => ({ prompt, maxTokens: 12, seed }));
  for (let turn = 0; turn < 2; turn++) {
    for (const [id, request] of requests.entries()) crowd.submit(10 * turn + id, request);
    crowd.finish();
    for (const [id, request] of requests.entries()) {
      const { tokens, logprobs } = single.answer(request);
      const got = crowd.done.get(10 * turn + id)!;
      expect(got.tokens).toEqual(tokens);
      expect(maxDifference(got.logprobs, logprobs)).toBeLessThan(1e-4);
      const reply: Chunk = { type: "text", tokens: [...tokens] };
      requests[id] = { ...request, prompt: [...request.prompt, reply, text(id, 5)] };
    }
  }
});

test("over rows there are as many places as sequences of that length have room for", async () => {
  const desk = await open(6, { form: "rows", maxCells: 3 * 416 });
  const widest = async (first: number, length: number, count: number): Promise<number> => {
    const before = desk.scheduler.counts;
    for (let id = first; id < first + count; id++)
      desk.submit(id, { prompt: [text(id, length)], maxTokens: 6, seed: id });
    desk.finish();
    const { sampledTokens, decodeSteps } = desk.scheduler.counts;
    return (sampledTokens - before.sampledTokens - count) / (decodeSteps - before.decodeSteps);
  };
  // A cache of rows begins with room for all that a slot may hold here, 400 positions.
  expect(await widest(0, 30, 9)).toBeCloseTo(3, 5);
  expect(await widest(100, 390, 4)).toBeGreaterThan(1);
  expect(desk.done.size).toBe(13);
  expect(desk.failed.size).toBe(0);
});

test("over rows short sequences have all places again after a long one", async () => {
  const desk = await open(8, { form: "rows", maxCells: 8 * 1024, maxPositions: 3000 });
  desk.submit(1, { prompt: [text(1, 2500)], maxTokens: 4, seed: 1 });
  for (let id = 2; id < 10; id++)
    desk.submit(id, { prompt: [text(id, 30)], maxTokens: 9, seed: id });
  desk.finish();
  const { cache } = desk.model.decoder;
  expect(cache.numOpen).toBeLessThan(8);
  const before = desk.scheduler.counts.decodeSteps;
  for (let id = 20; id < 28; id++)
    desk.submit(id, { prompt: [text(id, 30)], maxTokens: 9, seed: id });
  desk.finish();
  expect(desk.scheduler.counts.decodeSteps - before).toBe(8);
  expect(cache.numOpen).toBe(8);
  expect(desk.done.size).toBe(17);
});

describe("work that is not done twice", () => {
  // Elsewhere short prompts run from a tape rather than take over what is held.
  test.skipIf(testDevice !== "cpu")(
    "members of a group, next turns and children of one parent prefill what is new",
    async () => {
      const desk = await open(4);
      const positions = (): number => desk.scheduler.counts.prefillPositions;
      const prompt = [text(1, 40)];
      for (let id = 1; id <= 4; id++) desk.submit(id, { prompt, maxTokens: 5, seed: id });
      desk.finish();
      expect(positions()).toBe(40);
      const replies = [1, 2, 3, 4].map((id): Chunk => ({
        type: "text",
        tokens: desk.done.get(id)!.tokens,
      }));
      const children = replies.map((reply, i) => [...prompt, reply, text(10 + i, 7)]);
      for (const [i, child] of children.entries())
        desk.submit(10 + i, { prompt: child, maxTokens: 3, seed: i });
      desk.finish();
      // The last token of a reply was drawn but never read.
      expect(positions()).toBe(40 + 4 * 8);
      const siblings = [20, 21, 22].map((n) => [...prompt, replies[0], text(10, 7), text(n, 2)]);
      for (const [i, sibling] of siblings.entries())
        desk.submit(20 + i, { prompt: sibling, maxTokens: 3, seed: i });
      desk.finish();
      expect(positions()).toBe(40 + 4 * 8 + 3 * 2);
    },
  );

  // As above.
  test.skipIf(testDevice !== "cpu")(
    "a prompt waits for one that writes its beginning, and only for that",
    async () => {
      const desk = await open(4);
      const prompt = [text(1, 40)];
      const prompts = [prompt, [...prompt, text(2, 5)], [text(3, 30)]];
      for (const [id, asked] of prompts.entries())
        desk.submit(id, { prompt: asked, maxTokens: 2, seed: id });
      desk.finish();
      expect(desk.scheduler.counts.prefillPositions).toBe(40 + 5 + 30);
    },
  );

  test.skipIf(testDevice !== "cpu")(
    "prompts of a model with delta nets share what they begin with, once it was seen",
    async () => {
      const desk = await open(6, { delta: true });
      const positions = (): number => desk.scheduler.counts.prefillPositions;
      const children = [3, 4, 5].map((seed) => [text(1, 150), text(seed, 20)]);
      for (const [id, prompt] of children.entries())
        desk.submit(id, { prompt, maxTokens: 4, seed: id });
      desk.finish();
      // Whole pieces of 64: the others begin behind the second one.
      expect(positions()).toBe(170 + 2 * (170 - 128));
      const reply: Chunk = { type: "text", tokens: desk.done.get(1)!.tokens };
      desk.submit(10, { prompt: [...children[1], reply, text(9, 8)], maxTokens: 3, seed: 1 });
      desk.finish();
      expect(positions()).toBe(170 + 3 * (170 - 128) + 4 + 8);
    },
  );

  test("a prompt that cannot be read fails alone", async () => {
    const desk = await open(4);
    const foreign: Chunk = { type: "text", tokens: [5, 1_000_000] };
    const prompts = [[text(1, 20)], [foreign], [text(2, 20)]];
    for (const [id, prompt] of prompts.entries())
      desk.submit(id, { prompt, maxTokens: 3, seed: id });
    while (!desk.scheduler.idle) desk.scheduler.step();
    expect([...desk.failed.keys()]).toEqual([1]);
    expect(new Set(desk.done.keys())).toEqual(new Set([0, 2]));
  });

  test("idle conversations take no place from requests that wait", async () => {
    const tokensPerStep = async (numIdle: number): Promise<number> => {
      const desk = await open(8);
      const conversations = Array.from({ length: numIdle }, (_, i) => [text(100 + i, 30)]);
      for (const [i, prompt] of conversations.entries())
        desk.submit(1000 + i, { prompt, maxTokens: 4, seed: i });
      desk.finish();
      const before = desk.scheduler.counts;
      for (let id = 0; id < 64; id++)
        desk.submit(id, { prompt: [text(id, 20)], maxTokens: 16, seed: id });
      desk.finish();
      const { sampledTokens, decodeSteps } = desk.scheduler.counts;
      return (sampledTokens - before.sampledTokens) / (decodeSteps - before.decodeSteps);
    };
    expect(await tokensPerStep(32)).toBeGreaterThanOrEqual(0.9 * (await tokensPerStep(0)));
    expect(await tokensPerStep(0)).toBeGreaterThan(7);
  });
});
