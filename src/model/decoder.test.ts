import { afterAll, describe, expect, it, test } from "vitest";
import { testDevice } from "../../test/fixtures/device.ts";
import { stream } from "../core/random.ts";
import { hasKernelsFor, kernels } from "../torch/kernels.ts";
import { liveTensors, noGrad, scope } from "../torch/scope.ts";
import { tensor, type DType } from "../torch/tensor.ts";
import { planBatch, type ImageRef, type InputChunk } from "./batch.ts";
import type { DecodeRow } from "./cache-attention.ts";
import type { ModelConfig } from "./config.ts";
import { parseModelConfig } from "./families/table.ts";
import { DRAW_COLUMNS, MAX_STEPS } from "./decode-tapes.ts";
import { Decoder } from "./decoder.ts";
import { goldenNames, goldenPatches, maxDifference, readGolden } from "./fixtures/golden.ts";
import { loadModelFolder } from "./folder.ts";
import { initModel } from "./init.ts";
import type { CacheForm } from "./kv-cache.ts";
import type { VisionLanguageModel } from "./vision-language-model.ts";

const numSlots = 3;
const noTokens = new Int32Array(numSlots);

/** Greedy state of all slots of a decoder, advanced one token at a time. */
class Slots {
  readonly decoder: Decoder;
  readonly lengths = new Int32Array(numSlots);
  readonly positions = new Int32Array(numSlots);
  readonly active = new Uint8Array(numSlots);
  readonly sources = Int32Array.from({ length: numSlots }, (_, slot) => slot);
  readonly shared = new Int32Array(numSlots);
  readonly #model: VisionLanguageModel;
  readonly #patches: (image: ImageRef) => Float32Array;

  constructor(
    model: VisionLanguageModel,
    patches: (image: ImageRef) => Float32Array,
    form?: CacheForm,
  ) {
    this.#model = model;
    this.#patches = patches;
    this.decoder = new Decoder(model, { numSlots, maxPositions: 200, form });
  }

  /** Appends chunks to a slot; logits of the last position. */
  prefill(slot: number, chunks: InputChunk<ImageRef>[]): number[] {
    return scope(() => {
      const batch = planBatch([chunks], this.#model.config, [this.positions[slot]]);
      const { images } = batch;
      const features =
        images.length === 0
          ? undefined
          : noGrad(() => this.#model.encodeImages(images, this.#patches));
      const logits = this.decoder
        .prefill([{ slot, offset: this.lengths[slot] }], batch, features)
        .toNumbers();
      this.lengths[slot] += batch.lengths[0];
      this.positions[slot] = batch.next[0];
      this.active[slot] = 1;
      return logits;
    });
  }

  /** Logits by slot; nothing for those that are idle. */
  decode(tokens: Int32Array): number[][] {
    const { decoder, lengths, positions, active, sources, shared } = this;
    const busy = Array.from({ length: numSlots }, (_, slot) => slot).filter((slot) => active[slot]);
    const rows = busy.map((slot): DecodeRow => ({
      slot,
      token: tokens[slot],
      length: lengths[slot],
      rope: positions[slot],
      source: sources[slot],
      shared: shared[slot],
    }));
    const { flat, width, at } = scope(() => {
      const { logits, rowOf } = decoder.decode(rows);
      return { flat: logits.toNumbers(), width: logits.size(1), at: busy.map((_, i) => rowOf(i)) };
    });
    const given: number[][] = Array.from({ length: numSlots }, () => []);
    for (const [i, slot] of busy.entries()) {
      lengths[slot]++;
      positions[slot]++;
      given[slot] = flat.slice(at[i] * width, (at[i] + 1) * width);
    }
    return given;
  }
}

function argmax(logits: number[]): number {
  return logits.indexOf(Math.max(...logits));
}

describe.each(goldenNames)("Decoder against transformers, %s", (name) => {
  it("continues every sequence with the same greedy tokens, in slots side by side", async () => {
    const golden = readGolden(name);
    const model = await loadModelFolder(golden.folder, { device: testDevice });
    const slots = new Slots(model, goldenPatches(golden));
    const count = Math.min(numSlots, golden.sequences.length);
    const produced: number[][] = [];
    for (let s = 0; s < count; s++) produced.push([argmax(slots.prefill(s, golden.sequences[s]))]);
    for (let n = 1; n < 12; n++) {
      const newest = noTokens.slice();
      for (let s = 0; s < count; s++) newest[s] = produced[s][n - 1];
      const logits = slots.decode(newest);
      for (let s = 0; s < count; s++) produced[s].push(argmax(logits[s]));
    }
    expect(produced).toEqual(golden.greedy.slice(0, count));
    slots.decoder.dispose();
    model.dispose();
  });

  it("gives the logits of the full forward pass, token by token and turn by turn", async () => {
    const golden = readGolden(name);
    const model = await loadModelFolder(golden.folder, { device: testDevice });
    const patches = goldenPatches(golden);
    const slots = new Slots(model, patches);
    const sequence = golden.sequences[0];
    const full = scope(() =>
      noGrad(() => {
        const batch = planBatch([sequence], model.config);
        const features = model.encodeImages(batch.images, patches);
        return model.logits(model.hidden(batch, { features })).toNumbers();
      }),
    );
    const width = model.config.text.vocabSize;
    const at = (t: number): number[] => full.slice(t * width, (t + 1) * width);
    const differences: number[] = [];
    const compare = (logits: number[]): void => {
      differences.push(maxDifference(logits, at(slots.lengths[1] - 1)));
    };
    for (const chunk of sequence) {
      if (chunk.type === "image" || slots.lengths[1] === 0) compare(slots.prefill(1, [chunk]));
      else for (const token of chunk.tokens) compare(slots.decode(noTokens.slice().fill(token))[1]);
    }
    expect(differences.length).toBeGreaterThan(2);
    expect(Math.max(...differences)).toBeLessThan(1e-4);
    slots.decoder.dispose();
    model.dispose();
  });
});

/** All forms on a CPU; elsewhere the one that float32 has there. */
const forms: CacheForm[] = hasKernelsFor("float32", testDevice)
  ? ["packed", "rows", "matrices"]
  : ["matrices"];
const kinds: { form: CacheForm; dtype: DType }[] = [
  ...forms.map((form) => ({ form, dtype: "float32" as const })),
  // Weights as they are, and rows in operators of our own.
  ...(testDevice === "cpu" ? [{ form: "packed" as const, dtype: "bfloat16" as const }] : []),
];
const cases = kinds.flatMap((kind) => [
  { heads: 4, keyHeads: 2, ...kind },
  { heads: 8, keyHeads: 1, ...kind },
]);
describe.each(cases)(
  "Decoder with $heads heads on $keyHeads, $form, $dtype",
  ({ heads, keyHeads, form, dtype }) => {
    const model = initModel(textConfig(heads, keyHeads), { seed: 3, device: testDevice, dtype });
    const text = (seed: number, length: number): InputChunk<ImageRef>[] => [
      { type: "text", tokens: Array.from({ length }, (_, i) => (i * seed + 7) % 60) },
    ];
    const noImages = (): Float32Array => new Float32Array(0);
    /** Equal to the bit where that is promised; products of other shapes round differently. */
    const expectSame = (got: number[], expected: number[]): void => {
      if (form !== "rows") expect(got).toEqual(expected);
      else expect(maxDifference(got, expected)).toBeLessThan(5e-4);
    };
    const opened: Slots[] = [];
    const open = (): Slots => {
      const slots = new Slots(model, noImages, form);
      opened.push(slots);
      return slots;
    };
    afterAll(() => {
      for (const slots of opened) slots.decoder.dispose();
      model.dispose();
    });

    it("computes the same bits in a slot whatever the others hold", () => {
      const alone = open();
      const crowded = open();
      const first = alone.prefill(1, text(5, 9));
      crowded.prefill(0, text(3, 150));
      expectSame(crowded.prefill(1, text(5, 9)), first);
      for (let n = 0; n < 30; n++) {
        if (n === 4) crowded.prefill(2, text(11, 70));
        const expected = alone.decode(noTokens.slice().fill(n))[1];
        const tokens = Int32Array.from([(n * 13) % 60, n, (n * 29) % 60]);
        expectSame(crowded.decode(tokens)[1], expected);
      }
    });

    const isExact = form !== "rows";
    it.runIf(isExact)("gives a prompt the same bits every time, also under other weights", () => {
      const copy = model.clone();
      const slots = new Slots(copy, noImages, form);
      const answers = (): number[][][] =>
        Array.from({ length: 5 }, (_, n) => {
          const slot = n % numSlots;
          slots.lengths[slot] = slots.positions[slot] = 0;
          const first = slots.prefill(slot, text(5, 9));
          return [first, slots.decode(noTokens.slice().fill(3))[slot]];
        });
      const before = answers();
      for (const again of before) expect(again).toEqual(before[0]);
      noGrad(() => {
        for (const parameter of copy.params.values()) parameter.mul_(1.5);
      });
      slots.decoder.refresh();
      const after = answers();
      for (const again of after) expect(again).toEqual(after[0]);
      expect(after[0]).not.toEqual(before[0]);
      slots.decoder.dispose();
      copy.dispose();
    });

    it.runIf(form === "packed" && dtype === "float32")(
      "gives a position the same bits however its sequence was cut",
      () => {
        const [whole, cut] = [open(), open()];
        const tokens = Array.from({ length: 150 }, (_, i) => (i * 5 + 7) % 60);
        const piece = (from: number, to: number): InputChunk<ImageRef>[] => [
          { type: "text", tokens: tokens.slice(from, to) },
        ];
        const expected = whole.prefill(1, piece(0, 150));
        cut.prefill(1, piece(0, 1));
        cut.prefill(1, piece(1, 38));
        for (let t = 38; t < 77; t++) cut.decode(noTokens.slice().fill(tokens[t]));
        cut.prefill(1, piece(77, 131));
        for (let t = 131; t < 149; t++) cut.decode(noTokens.slice().fill(tokens[t]));
        expect(cut.decode(noTokens.slice().fill(tokens[149]))[1]).toEqual(expected);
        for (let n = 0; n < 20; n++) {
          const newest = noTokens.slice().fill(n);
          expect(cut.decode(newest)[1]).toEqual(whole.decode(newest)[1]);
        }
      },
    );

    it("leaves idle slots as they are", () => {
      const slots = open();
      slots.prefill(0, text(5, 12));
      slots.prefill(1, text(7, 30));
      const other = open();
      other.prefill(0, text(5, 12));
      slots.active[0] = 0;
      for (let n = 0; n < 5; n++) slots.decode(noTokens.slice().fill(n));
      slots.active[0] = 1;
      expectSame(slots.prefill(0, text(9, 3)), other.prefill(0, text(9, 3)));
    });

    it("shares a prefix with the same bits as a prefill of its own", () => {
      const shared = open();
      const own = open();
      shared.prefill(0, text(5, 20));
      shared.decoder.copyPrefix(0, [0, 2], 20);
      shared.lengths[2] = 20;
      shared.positions[2] = 20;
      shared.active[2] = 1;
      own.prefill(2, text(5, 20));
      const tokens = Int32Array.from([1, 2, 3]);
      expectSame(shared.decode(tokens)[2], own.decode(tokens)[2]);
    });

    it("reads a shared prefix where another slot holds it, with the same bits", () => {
      const slots = open();
      const length = 37;
      slots.prefill(0, text(5, length));
      slots.decoder.copyPrefix(0, [1, 2], length);
      for (const slot of [1, 2]) {
        slots.lengths[slot] = slots.positions[slot] = length;
        slots.active[slot] = 1;
      }
      for (let n = 0; n < 20; n++) {
        const tokens = Int32Array.from([n, n + 9, (n * 7) % 60]);
        slots.shared.fill(0);
        const own = slots.decode(tokens);
        for (const state of [slots.lengths, slots.positions])
          for (let slot = 0; slot < numSlots; slot++) state[slot]--;
        slots.sources.fill(0);
        slots.shared.fill(length);
        expect(slots.decode(tokens)).toEqual(own);
      }
    });

    it.runIf(form === "packed" && dtype === "float32")(
      "prefills side by side with the bits of one after the other",
      () => {
        const [alone, packed] = [open(), open()];
        for (const slots of [alone, packed]) slots.prefill(2, text(9, 21));
        const parts = [
          { slot: 0, offset: 0, chunks: text(5, 20) },
          { slot: 2, offset: 21, chunks: text(3, 6) },
          { slot: 1, offset: 0, chunks: text(7, 33) },
        ];
        const starts = parts.map(({ offset }) => offset);
        const sequences = parts.map(({ chunks }) => chunks);
        const batch = planBatch(sequences, model.config, starts);
        const logits = scope(() => packed.decoder.prefill(parts, batch).tolist());
        expect(logits).toEqual(parts.map(({ slot, chunks }) => alone.prefill(slot, chunks)));
        for (const part of parts) packed.active[part.slot] = 1;
        packed.lengths.set(alone.lengths);
        packed.positions.set(alone.positions);
        const tokens = Int32Array.from([1, 2, 3]);
        expect(packed.decode(tokens)).toEqual(alone.decode(tokens));
      },
    );

    it.runIf(form === "packed")("draws over several steps what single steps draw", () => {
      const [single, several] = [open(), open()];
      const lengths = [20, 33, 9];
      for (const slots of [single, several])
        for (const [slot, length] of lengths.entries()) slots.prefill(slot, text(5 + slot, length));
      for (const numSteps of [3, 1, MAX_STEPS]) {
        const random = stream(numSteps, "draws");
        const newest = [4, 5, 6];
        const draws = Float64Array.from(
          { length: numSteps * numSlots * DRAW_COLUMNS },
          (_, i) => [i, random.uniform(0, 1), (i % 3) * 0.6, 0.9, i % 2 === 0 ? 0 : 7][i % 5],
        );
        const rows = newest.map((token, slot): DecodeRow => {
          const [length, rope] = [several.lengths[slot], several.positions[slot]];
          return { slot, token, length, rope, source: slot, shared: 0 };
        });
        const drawn = several.decoder.decodeDrawing(rows, draws);
        let tokens = Int32Array.from(newest);
        const expected: number[] = [];
        for (let k = 0; k < numSteps; k++) {
          const logits = tensor(single.decode(tokens), { device: testDevice });
          const asked = draws.slice(k * numSlots * DRAW_COLUMNS, (k + 1) * numSlots * DRAW_COLUMNS);
          for (let slot = 0; slot < numSlots; slot++) asked[slot * DRAW_COLUMNS] = slot;
          const requests = tensor(asked, { dtype: "float64", shape: [numSlots, DRAW_COLUMNS] });
          const one = noGrad(() => kernels.drawTokens(logits, requests).toNumbers());
          expected.push(...one);
          tokens = Int32Array.from({ length: numSlots }, (_, slot) => one[2 * slot]);
        }
        expect([...drawn]).toEqual(expected);
        several.lengths.set(single.lengths);
        several.positions.set(single.positions);
      }
    });

    it.runIf(form !== forms[0])(`agrees with the form ${forms[0]}`, () => {
      const one = open();
      const other = new Slots(model, noImages, forms[0]);
      opened.push(other);
      for (const slots of [one, other]) {
        slots.prefill(0, text(5, 20));
        slots.prefill(2, text(7, 90));
      }
      for (let n = 0; n < 60; n++) {
        const tokens = Int32Array.from([n, 0, (n * 7) % 60]);
        const [a, b] = [one.decode(tokens), other.decode(tokens)];
        for (const slot of [0, 2]) expect(maxDifference(a[slot], b[slot])).toBeLessThan(5e-4);
      }
    });

    it("follows the weights after refresh", () => {
      const copy = model.clone();
      const decoder = new Decoder(copy, { numSlots, maxPositions: 50 });
      const ask = (): number[] =>
        scope(() =>
          decoder
            .prefill([{ slot: 0, offset: 0 }], planBatch([text(5, 8)], copy.config))
            .toNumbers(),
        );
      const before = ask();
      noGrad(() => {
        for (const parameter of copy.params.values()) parameter.mul_(1.5);
      });
      decoder.refresh();
      expect(ask()).not.toEqual(before);
      decoder.dispose();
      copy.dispose();
    });

    it("leaves no tensors behind", () => {
      open().prefill(0, text(5, 8)); // the model's rotary tables are made once and stay
      const before = liveTensors();
      const slots = new Slots(model, noImages, form);
      const held = liveTensors();
      slots.prefill(0, text(5, 8));
      slots.decoder.copyPrefix(0, [1, 2], 8);
      slots.decode(noTokens);
      slots.decoder.refresh();
      expect(liveTensors()).toBe(held);
      slots.decoder.dispose();
      expect(liveTensors()).toBe(before);
    });

    it("says when a sequence does not fit, and when nothing is active", () => {
      const slots = open();
      expect(() => slots.prefill(0, text(5, 201))).toThrow(/201 positions.*cache of 200/);
      expect(() => slots.decode(noTokens)).toThrow(/no slot is active/);
      slots.prefill(0, text(5, 199));
      slots.decode(noTokens);
      expect(() => slots.decode(noTokens)).toThrow(/201 positions/);
    });
  },
);

// On a GPU: flash attention, and a step in kernels of our own.
test.each([
  { heads: 4, keyHeads: 2, headDim: 16 },
  { heads: 8, keyHeads: 1, headDim: 128 },
])("in half precision, $heads heads of $headDim, logits are near the whole pass's", (sizes) => {
  const { heads, keyHeads, headDim } = sizes;
  const config = { ...textConfig(heads, keyHeads, headDim), initializerRange: 0.06 };
  const model = initModel(config, { seed: 3, device: testDevice, dtype: "bfloat16" });
  const slots = new Slots(model, () => new Float32Array(0));
  const tokens = Array.from({ length: 120 }, (_, t) => (t * 11 + 5) % 60);
  const wide = initModel(config, { seed: 3 });
  wide.copyFrom(model.params);
  const whole = scope(() =>
    noGrad(() =>
      wide.logits(wide.hidden(planBatch([[{ type: "text", tokens }]], config))).toNumbers(),
    ),
  );
  const { vocabSize } = config.text;
  const at = (t: number): number[] => whole.slice(t * vocabSize, (t + 1) * vocabSize);
  const spread = Math.max(...whole.map(Math.abs));
  const text = (from: number, to: number): InputChunk<ImageRef>[] => [
    { type: "text", tokens: tokens.slice(from, to) },
  ];
  const gaps = [maxDifference(slots.prefill(1, text(0, 70)), at(69))];
  slots.prefill(0, text(3, 20));
  gaps.push(maxDifference(slots.prefill(1, text(70, 90)), at(89)));
  for (let t = 90; t < tokens.length; t++)
    gaps.push(maxDifference(slots.decode(noTokens.slice().fill(tokens[t]))[1], at(t)));
  expect(Math.max(...gaps)).toBeLessThan(0.08 * spread);
  slots.decoder.dispose();
  for (const own of [model, wide]) own.dispose();
});

function textConfig(heads: number, keyHeads: number, headDim = 16): ModelConfig {
  const section = [2, 3, 3].map((share) => (share * headDim) / 16);
  return parseModelConfig(
    {
      model_type: "qwen2_5_vl",
      image_token_id: 60,
      tie_word_embeddings: true,
      text_config: {
        vocab_size: 64,
        hidden_size: heads * headDim,
        intermediate_size: 48,
        num_hidden_layers: 2,
        num_attention_heads: heads,
        num_key_value_heads: keyHeads,
        initializer_range: 0.3,
        rope_parameters: { rope_type: "default", rope_theta: 1e4, mrope_section: section },
      },
      vision_config: {
        depth: 1,
        hidden_size: 8,
        intermediate_size: 8,
        num_heads: 1,
        out_hidden_size: heads * headDim,
      },
    },
    "test",
  );
}
