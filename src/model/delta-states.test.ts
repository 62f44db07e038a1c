import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { testDevice } from "../../test/fixtures/device.ts";
import { noGrad, scope } from "../torch/scope.ts";
import { hasKernelsFor } from "../torch/kernels.ts";
import { planBatch } from "./batch.ts";
import type { DecodeRow } from "./cache-attention.ts";
import { Decoder } from "./decoder.ts";
import { maxDifference, readGolden } from "./fixtures/golden.ts";
import { loadModelFolder } from "./folder.ts";
import type { CacheForm } from "./kv-cache.ts";
import type { VisionLanguageModel } from "./vision-language-model.ts";

const forms: CacheForm[] = hasKernelsFor("float32", testDevice)
  ? ["packed", "rows", "matrices"]
  : ["matrices"];
const numSlots = 6;

describe.each(forms)("states of delta nets, %s", (form) => {
  let model: VisionLanguageModel;
  let decoder: Decoder;
  beforeAll(async () => {
    model = await loadModelFolder(readGolden("qwen35").folder, { device: testDevice });
    decoder = new Decoder(model, { numSlots, maxPositions: 300, form });
  });
  afterAll(() => {
    decoder.dispose();
    model.dispose();
  });

  const tokensOf = (seed: number, length: number): number[] =>
    Array.from({ length }, (_, i) => 3 + ((i * seed + (i % 7)) % 77));
  const prefill = (slot: number, offset: number, tokens: number[]): number[] =>
    noGrad(() =>
      scope(() => {
        const batch = planBatch([[{ type: "text", tokens }]], model.config, [offset]);
        return decoder.prefill([{ slot, offset }], batch).toNumbers();
      }),
    );
  const rowOf = (slot: number, token: number, length: number): DecodeRow => {
    return { slot, token, length, rope: length, source: slot, shared: 0 };
  };
  /** Logits by row. */
  const decode = (rows: DecodeRow[]): number[][] =>
    scope(() => {
      const { logits, rowOf: at } = decoder.decode(rows);
      const [, width] = logits.shape;
      const flat = logits.toNumbers();
      return rows.map((_, i) => flat.slice(at(i) * width, (at(i) + 1) * width));
    });

  it("are the same bits in any company", () => {
    const prompt = tokensOf(5, 90);
    const alone: number[][] = [prefill(0, 0, prompt)];
    for (let n = 0; n < 9; n++) alone.push(decode([rowOf(0, 10 + n, 90 + n)])[0]);
    for (const [slot, length] of [30, 64, 70, 5].entries())
      prefill(slot, 0, tokensOf(slot + 2, length));
    const crowd = [prefill(4, 0, prompt)];
    for (let n = 0; n < 9; n++) {
      const others = [30, 64, 70, 5].slice(0, n % 5);
      const rows = others.map((length, slot) => rowOf(slot, 20 + n, length));
      const row = rowOf(4, 10 + n, 90 + n);
      crowd.push(decode([...rows, row]).at(-1)!);
    }
    if (form === "rows")
      for (const [n, logits] of crowd.entries())
        expect(maxDifference(logits, alone[n])).toBeLessThan(5e-4);
    else expect(crowd).toEqual(alone);
  });

  it("go on where they were kept, whatever came since", () => {
    const [first, rest] = [tokensOf(4, 80), tokensOf(11, 20)];
    prefill(1, 0, first);
    decoder.states!.keep(1, 2);
    const expected = prefill(1, 80, rest);
    for (let n = 0; n < 3; n++) decode([rowOf(1, 30 + n, 100 + n)]);
    prefill(2, 0, tokensOf(3, 12));
    decoder.copyPrefix(1, [2], 80, 2);
    expect(prefill(2, 80, rest)).toEqual(expected);
    decoder.copyPrefix(1, [1], 80, 2);
    expect(prefill(1, 80, rest)).toEqual(expected);
  });

  it("are those of a slot where its whole is shared", () => {
    prefill(0, 0, tokensOf(6, 75));
    decoder.copyPrefix(0, [3, 5], 75);
    const after = decode([0, 3, 5].map((slot) => rowOf(slot, 9, 75)));
    expect(after[1]).toEqual(after[0]);
    expect(after[2]).toEqual(after[0]);
  });

  it("begin anew with a prompt", () => {
    const prompt = tokensOf(8, 66);
    const fresh = prefill(5, 0, prompt);
    for (let n = 0; n < 4; n++) decode([rowOf(5, n + 3, 66 + n)]);
    expect(prefill(5, 0, prompt)).toEqual(fresh);
  });
});
