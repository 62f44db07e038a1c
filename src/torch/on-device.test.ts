/** What the tensor layer does with a device: data in and out, gradients, optimizers, tapes, files. */
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { describe, expect, it } from "vitest";
import { testDevice } from "../../test/fixtures/device.ts";
import { cudaMemory, manualSeed, rngState, setRngState } from "./device.ts";
import type { Device } from "./dtype.ts";
import { crossEntropy, attention, rmsNorm, swiglu } from "./nn.ts";
import { linear, randn, zeros, type Tensor } from "./ops.ts";
import { Muon } from "./muon.ts";
import { AdamW, clipGradNorm, type Optimizer } from "./optim.ts";
import { openSafetensors } from "./safetensors.ts";
import { writeSafetensors } from "./safetensors-write.ts";
import { liveTensors, noGrad, scope } from "./scope.ts";
import { Tape } from "./tape.ts";
import { tensor } from "./tensor.ts";

const device = testDevice;

function expectClose(got: readonly number[], wanted: readonly number[]): void {
  expect(got.length).toBe(wanted.length);
  for (const [i, value] of got.entries()) expect(value).toBeCloseTo(wanted[i], 4);
}

describe(`tensors on ${device}`, () => {
  it("come in, change in place and go out as they are", () => {
    scope(() => {
      const made = tensor([1, 2, 3, 4], { shape: [2, 2], device });
      expect(made.device).toBe(device);
      expect(made.t().toNumbers()).toEqual([1, 3, 2, 4]);
      made.setBytes(Float32Array.of(5, 6, 7, 8));
      expect(made.toNumbers()).toEqual([5, 6, 7, 8]);
      expect(made.to("cpu").device).toBe("cpu");
      expect(made.select(0, 1).sum().item()).toBe(15);
    });
  });

  it("have the CPU's gradients through attention, norm, SwiGLU and cross entropy", () => {
    const weights = scope(() => {
      manualSeed(3);
      return [randn([24, 8]), randn([16]).add(1), randn([11, 8])].map((w) => w.keep());
    });
    const outcome = (where: Device): number[][] =>
      scope(() => {
        const [qkv, gain, head] = weights.map((w) => w.to(where).detach().requiresGrad_());
        const x = tensor(
          Array.from({ length: 40 }, (_, i) => Math.sin(i)),
          { shape: [1, 5, 8], device: where },
        );
        const [q, k, v] = linear(x, qkv).unsqueeze(1).chunk(3, -1);
        const mixed = attention(q, k, v, { isCausal: true }).view([5, 8]);
        const wide = rmsNorm(mixed.repeat([1, 2]), gain, 1e-6);
        const logits = linear(swiglu(wide), head);
        const loss = crossEntropy(
          logits,
          tensor([0, 3, 10, 4, 4], { dtype: "int64", device: where }),
        );
        loss.backward();
        return [loss, qkv.grad!, gain.grad!, head.grad!].map((value) => value.toNumbers());
      });
    const [here, there] = [outcome(device), outcome("cpu")];
    for (const [i, numbers] of here.entries()) expectClose(numbers, there[i]);
    for (const weight of weights) weight.dispose();
  });

  it.each(["AdamW", "Muon"])(
    "learn under %s as on the CPU, and resume from a file",
    async (name) => {
      const folder = await mkdtemp(join(tmpdir(), "vigorl-device-"));
      const file = join(folder, "state.safetensors");
      const start = Array.from({ length: 12 }, (_, i) => Math.cos(i));
      const open = (where: Device): { w: Tensor; optimizer: Optimizer; step: () => void } => {
        const w = tensor(start, { shape: [3, 4], device: where })
          .requiresGrad_()
          .keep();
        const parameters = new Map([["w", w]]);
        const optimizer =
          name === "AdamW"
            ? new AdamW([{ parameters }])
            : new Muon({ matrices: parameters, rest: [] }, { weightDecay: 0.01 });
        const step = (): void => {
          scope(() => w.pow(2).sum().backward());
          clipGradNorm([w], 1);
          optimizer.step(0.05);
          optimizer.zeroGrad();
        };
        return { w, optimizer, step };
      };
      const [here, there] = [open(device), open("cpu")];
      for (const { step } of [here, there]) for (let n = 0; n < 4; n++) step();
      expectClose(here.w.toNumbers(), there.w.toNumbers());
      writeSafetensors(file, new Map([...here.optimizer.state(), ["weight", here.w]]));
      const resumed = open(device);
      const stored = openSafetensors(file);
      noGrad(() =>
        scope(() => {
          resumed.optimizer.loadState(new Map(stored.names.map((key) => [key, stored.read(key)])));
          resumed.w.copy_(stored.read("weight", { device }));
        }),
      );
      stored.close();
      for (const { step } of [here, resumed]) step();
      expect(resumed.w.toNumbers()).toEqual(here.w.toNumbers());
      for (const { w, optimizer } of [here, there, resumed]) {
        optimizer.dispose();
        w.dispose();
      }
      await rm(folder, { recursive: true });
    },
  );

  it("run from a tape on what its inputs hold at the time", () => {
    const before = liveTensors();
    const input = zeros([3], { device }).keep();
    noGrad(() => {
      const tape = scope(() => new Tape(() => [input.add(1).mul(2)]));
      input.setBytes(Float32Array.of(1, 2, 3));
      expect(scope(() => tape.run()[0].toNumbers())).toEqual([4, 6, 8]);
      tape.dispose();
    });
    input.dispose();
    expect(liveTensors()).toBe(before);
  });

  it("are drawn again from a saved state, and counted in the device's memory", () => {
    scope(() => {
      const state = rngState(device);
      const first = randn([4], { device }).toNumbers();
      setRngState(state, device);
      expect(randn([4], { device }).toNumbers()).toEqual(first);
      const index = device === "cpu" ? null : Number(device.slice("cuda:".length));
      const held = index === null ? null : cudaMemory(index);
      if (held !== null) expect(held.allocatedBytes).toBeGreaterThan(0);
    });
  });
});
