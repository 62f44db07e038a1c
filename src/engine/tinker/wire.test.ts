import { expect, test } from "vitest";
import { decodePass, decodeSample, encodePass } from "./wire.ts";

const hex = (bytes: Uint8Array) => Buffer.from(bytes).toString("hex");
const bytes = (text: string) => new Uint8Array(Buffer.from(text, "hex"));

// Recorded from the protocol's own SDK, release 0.38.
const forward =
  "0a0e736573732d313a747261696e3a3010031a640a100a0e0a0c01000000020000000300000012300a0d7461726765745f746f6b656e73121f0a180200000000000000030000000000000004000000000000001802220103121e0a077765696768747312130a0c000000000000803f0000803f1801220103220d63726f73735f656e74726f70793001";
const sampled =
  "0a1e0801120c0500000006000000070000001a0c000000bf000080bf000000c0120c0000c07f000080be000080c0";
const output =
  "0a0a54656e736f7244617461123d0a017812360a086c6f6770726f6273122a0a0c000000bf000080bf000000c01218000000000000000008000000000000000c00000000000000180118021a130a086c6f73733a73756d110000000000000c40";

test("a request is the bytes that the SDK writes", () => {
  const datum = {
    chunks: [{ type: "text" as const, tokens: [1, 2, 3] }],
    targets: Int32Array.of(2, 3, 4),
    weights: Float32Array.of(0, 1, 1),
  };
  const request = { modelId: "sess-1:train:0", seqId: 3, data: [datum], forwardOnly: true };
  expect(hex(encodePass(request))).toBe(forward);
});

test("results are read as the SDK's servers write them", () => {
  expect(decodePass(bytes(output))).toEqual({
    logprobs_N: [Float32Array.of(-0.5, -1), Float32Array.of(-2)],
    metrics: { "loss:sum": 3.5 },
  });
  expect(decodeSample(bytes(sampled))).toEqual({
    sequences: [{ stopped: false, tokens: [5, 6, 7], logprobs: [-0.5, -1, -2] }],
    promptLogprobs: Float32Array.of(NaN, -0.25, -4),
  });
});

test.each([1, 7, 20, 60])("a result that is cut after %i bytes is named", (length) => {
  expect(() => decodePass(bytes(output).subarray(0, length))).toThrow(
    "no ForwardBackwardOutput of the protocol",
  );
});

test("numbers of another type, and offsets that lead out of their data, are named", () => {
  expect(() => decodePass(bytes(output.replace("18011802", "18041802")))).toThrow(
    "logprobs of dtype 4",
  );
  expect(() => decodePass(bytes(output.replace("0c00000000000000", "0d00000000000000")))).toThrow(
    "offsets beyond",
  );
});
