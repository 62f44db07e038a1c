/** What a process of `bench -- memory` does with its engine: sequences that fill it, sampled or learned from. */
import type { LocalEngine } from "../../src/engine/local/client.ts";
import {
  numPositions as lengthOf,
  type Chunk,
  type Datum,
  type Loss,
} from "../../src/engine/types.ts";
import type { PreprocessorConfig } from "../../src/image/preprocessor-config.ts";
import type { ModelConfig } from "../../src/model/config.ts";
import { adam, pictureOf, policyLoss, words } from "../gpu/rows.ts";
import { numPositions, numSlots, perMicroBatch, type Way } from "./ways.ts";

const newTokens = 8;
/** The first makes the moments, the second has them beside everything else. */
const numSteps = 2;

/** Runs a way's work. */
export async function runWay(
  engine: LocalEngine,
  config: ModelConfig,
  preprocessor: PreprocessorConfig,
  { learning, picturePx }: Way,
): Promise<void> {
  const image = pictureOf(picturePx, 1, preprocessor);
  const sequence = (s: number, length: number): Chunk[] => [
    { type: "image", image },
    words(config, length - image.numTokens, 3, s),
  ];
  if (learning?.reference === true) await engine.setReference();
  if (learning === null || learning.reference)
    await Promise.all(
      Array.from({ length: numSlots }, (_, s) =>
        engine.sample(sequence(s, numPositions - newTokens), {
          temperature: 1,
          maxTokens: newTokens,
          seed: s,
          topP: 1,
          topK: 0,
          stop: [],
        }),
      ),
    );
  if (learning === null) return;
  const data = Array.from({ length: 2 * perMicroBatch }, (_, s): Datum => {
    const chunks = sequence(s, numPositions);
    const length = lengthOf(chunks);
    const scored = (value: number): Float32Array =>
      new Float32Array(length).fill(value, image.numTokens + 1);
    return {
      chunks,
      weights: scored(1 / (length * 2 * perMicroBatch)),
      oldLogprobs: scored(-Math.log(config.text.vocabSize)),
      advantages: scored(s % 2 === 0 ? 1 : -1),
    };
  });
  const loss: Loss = learning.reference ? policyLoss : { kind: "crossEntropy" };
  for (let step = 0; step < numSteps; step++) {
    if (learning.reference) await engine.forward(data, { weights: "reference" });
    await engine.forwardBackward(data, loss);
    await engine.optimStep({ ...adam, moments: learning.moments ?? "float32" });
  }
}
