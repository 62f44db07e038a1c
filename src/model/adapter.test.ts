/** Adapters against what peft computes with them (scripts/fixtures/adapter.py), in both directions. */
import { execFileSync, spawnSync } from "node:child_process";
import { cp, mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { homedir, tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { crossEntropy } from "../torch/nn.ts";
import { openSafetensors } from "../torch/safetensors.ts";
import { writeSafetensors } from "../torch/safetensors-write.ts";
import { liveTensors, noGrad, scope } from "../torch/scope.ts";
import { tensor } from "../torch/tensor.ts";
import { baseOf, readAdapterConfig } from "./adapter-config.ts";
import { copyAdapter, layerPaths, loadAdapter, saveAdapterFolder } from "./adapter-folder.ts";
import { chooseLayers, initAdapter, mergeAdapter } from "./adapter.ts";
import { planBatch } from "./batch.ts";
import { Decoder } from "./decoder.ts";
import {
  goldenFolder,
  goldenPatches,
  maxDifference,
  readGolden,
  relativeDifference,
} from "./fixtures/golden.ts";
import { loadModelFolder } from "./folder.ts";
import { mergeFolders } from "./merge-folders.ts";
import { canonicalName } from "./parameters.ts";
import type { VisionLanguageModel } from "./vision-language-model.ts";

const names = ["windows", "qwen3vl", "qwen3vlmoe", "qwen35", "qwen35moe"] as const;
const python = process.env.VIGORL_PYTHON ?? join(homedir(), ".cache/vigorl/peers/bin/python");
const hasPeft = spawnSync(python, ["-c", "import peft, transformers"]).status === 0;

let root: string;
beforeAll(async () => {
  root = await mkdtemp(join(tmpdir(), "vigorl-adapter-"));
});
afterAll(() => rm(root, { recursive: true, force: true }));

async function withAdapter(name: string, folder = join(goldenFolder(name), "adapter")) {
  const model = await loadModelFolder(goldenFolder(name));
  model.adapter = await loadAdapter(model, folder);
  return { model, adapter: model.adapter };
}

/** Logits of a golden case's first sequence. */
function logitsOf(model: VisionLanguageModel, name: string): number[] {
  return noGrad(() => scope(() => forward(model, name).toNumbers()));
}

function forward(model: VisionLanguageModel, name: string) {
  const golden = readGolden(name);
  const batch = planBatch([golden.sequences[0]], model.config);
  const features = model.encodeImages(batch.images, goldenPatches(golden));
  return model.logits(model.hidden(batch, { features }));
}

function goldenOf(name: string): Map<string, number[]> {
  const file = openSafetensors(join(goldenFolder(name), "adapter/golden.safetensors"));
  const arrays = scope(() => new Map(file.names.map((key) => [key, file.read(key).toNumbers()])));
  file.close();
  return arrays;
}

describe.each(names)("the adapter of peft over %s", (name) => {
  it("gives its logits, and without it those of the base", async () => {
    const { model, adapter } = await withAdapter(name);
    const golden = goldenOf(name);
    expect(maxDifference(logitsOf(model, name), golden.get("logits")!)).toBeLessThan(1e-4);
    const base = await loadModelFolder(goldenFolder(name));
    expect(adapter.during(null, () => logitsOf(model, name))).toEqual(logitsOf(base, name));
    base.dispose();
    model.dispose();
  });

  it("has its gradients, and none reaches the base", async () => {
    const { model, adapter } = await withAdapter(name);
    const trained = adapter.setTrainable(model);
    scope(() => {
      const golden = readGolden(name);
      const { tokens, imageRows } = planBatch([golden.sequences[0]], model.config);
      const isImage = new Set(imageRows);
      const rows = [...tokens.keys()].slice(1).filter((t) => !isImage.has(t));
      const int64 = (of: number[]) => tensor(Int32Array.from(of), { dtype: "int64" });
      const before = forward(model, name).indexSelect(0, int64(rows.map((t) => t - 1)));
      const targets = int64(rows.map((t) => tokens[t]));
      crossEntropy(before, targets, { reduction: "sum" }).backward();
    });
    const golden = goldenOf(name);
    const found = new Map(
      [...golden]
        .filter(([key]) => key.startsWith("grad."))
        .map(([key, value]) => [canonicalName(key.slice("grad.base_model.model.".length)), value]),
    );
    expect([...trained.keys()].sort()).toEqual([...found.keys()].sort());
    for (const [key, parameter] of trained) {
      const ours = scope(() => parameter.grad!.toNumbers());
      expect({ key, close: relativeDifference(ours, found.get(key)!) < 1e-3 }).toEqual({
        key,
        close: true,
      });
    }
    expect([...model.params.values()].every((one) => scope(() => one.grad === null))).toBe(true);
    model.dispose();
  });

  it.each(["packed", "matrices"] as const)(
    "is in what a decoder computes, its cache in %s",
    async (form) => {
      const { model, adapter } = await withAdapter(name);
      const golden = readGolden(name);
      const decoder = scope(() => new Decoder(model, { numSlots: 2, maxPositions: 64, form }));
      const batch = planBatch([golden.sequences[0]], model.config);
      const last = () =>
        scope(() =>
          noGrad(() => {
            const features = model.encodeImages(batch.images, goldenPatches(golden));
            return decoder.prefill([{ slot: 0, offset: 0 }], batch, features).toNumbers();
          }),
        );
      const all = logitsOf(model, name);
      expect(maxDifference(last(), all.slice(-model.config.text.vocabSize))).toBeLessThan(1e-4);
      noGrad(() => {
        for (const parameter of adapter.params.values()) scope(() => parameter.mul_(0.5));
      });
      decoder.refresh();
      const changed = logitsOf(model, name);
      expect(maxDifference(changed, all)).toBeGreaterThan(1e-2);
      expect(maxDifference(last(), changed.slice(-model.config.text.vocabSize))).toBeLessThan(1e-4);
      decoder.dispose();
      model.dispose();
    },
  );

  it("merges into a folder that needs none", async () => {
    const out = join(root, `merged-${name}`);
    const { layers } = await mergeFolders(
      goldenFolder(name),
      join(goldenFolder(name), "adapter"),
      out,
    );
    const model = await loadModelFolder(out);
    expect(maxDifference(logitsOf(model, name), goldenOf(name).get("logits")!)).toBeLessThan(1e-4);
    expect(layers).toBeGreaterThan(3);
    model.dispose();
  });

  it("is the same after it was saved", async () => {
    const { model, adapter } = await withAdapter(name);
    const folder = join(root, `saved-${name}`);
    const source = readAdapterConfig(join(goldenFolder(name), "adapter"));
    const base = goldenFolder(name);
    await saveAdapterFolder(model, adapter, folder, { ...source, base });
    expect(baseOf(folder)).toBe(base);
    const again = await withAdapter(name, folder);
    expect(logitsOf(again.model, name)).toEqual(logitsOf(model, name));
    again.model.dispose();
    model.dispose();
  });
});

describe.skipIf(!hasPeft)("what we save, in peft (VIGORL_PYTHON)", () => {
  it("has the same layers and logits", async () => {
    const mine: number[][] = [];
    const places: string[] = [];
    for (const name of names) {
      const model = await loadModelFolder(goldenFolder(name));
      const paths = layerPaths(
        model,
        (module) => !module.startsWith("visual.") || name === "qwen3vl",
      );
      const ranks = new Map(
        chooseLayers(paths, { targets: "all-linear" }).map((module) => [
          module,
          { rank: 3, scale: 2 },
        ]),
      );
      model.adapter = initAdapter(model, ranks, 1);
      const { adapter } = model;
      const other = initAdapter(model, ranks, 2);
      noGrad(() => {
        for (const [key, parameter] of adapter.params)
          if (key.includes("lora_B"))
            scope(() =>
              parameter.copy_(
                other.params.get(key.replace("lora_B", "lora_A"))!.view([-1]).narrow(0, 0, 1),
              ),
            );
      });
      model.adapter = adapter;
      const folder = join(root, `live-${name}`);
      await saveAdapterFolder(model, adapter, folder, {
        base: goldenFolder(name),
        rank: 3,
        alpha: 6,
        rslora: false,
        dropout: 0,
        rankPattern: {},
        alphaPattern: {},
      });
      mine.push(adapterLogits(await withAdapter(name, folder), name));
      places.push(goldenFolder(name), folder, goldenFolder(name));
      other.dispose();
      model.dispose();
    }
    const script = new URL("../../scripts/fixtures/adapter.py", import.meta.url);
    const out = execFileSync(python, [script.pathname, "logits", ...places], {
      encoding: "utf8",
      stdio: ["ignore", "pipe", "ignore"],
      env: { ...process.env, OMP_NUM_THREADS: "1" },
    });
    const theirs = JSON.parse(out) as number[][];
    const differences = mine.map((logits, i) => maxDifference(logits, theirs[i]));
    expect(Math.max(...differences)).toBeLessThan(1e-4);
  });
});

function adapterLogits({ model }: { model: VisionLanguageModel }, name: string): number[] {
  const logits = logitsOf(model, name);
  model.dispose();
  return logits;
}

describe("adapter folders", () => {
  const source = join(goldenFolder("windows"), "adapter");
  const copied = async (name: string): Promise<string> => {
    const folder = join(root, name);
    await cp(source, folder, { recursive: true });
    return folder;
  };

  it("open under the module paths of before transformers 4.52", async () => {
    const folder = await copied("old-names");
    const file = join(folder, "adapter_model.safetensors");
    const stored = openSafetensors(file);
    scope(() => {
      const renamed = new Map(
        stored.names.map((key) => [
          key
            .replace("model.model.language_model.", "model.model.")
            .replace("model.model.visual.", "model.visual."),
          stored.read(key),
        ]),
      );
      expect([...renamed.keys()]).not.toContain(stored.names[0]);
      writeSafetensors(file, renamed);
    });
    stored.close();
    const { model } = await withAdapter("windows", folder);
    expect(
      maxDifference(logitsOf(model, "windows"), goldenOf("windows").get("logits")!),
    ).toBeLessThan(1e-4);
    model.dispose();
  });

  it.each([
    [{ use_dora: true }, /adapter_config\.json: use_dora true is not supported/],
    [{ bias: "all" }, /bias all/],
    [{ modules_to_save: ["lm_head"] }, /modules_to_save \["lm_head"\]/],
    [{ target_parameters: ["mlp.experts.down_proj"] }, /target_parameters/],
    [{ init_lora_weights: "pissa" }, /init_lora_weights pissa, which changes the base/],
    [{ peft_type: "IA3" }, /peft_type IA3/],
    [{ something_new: { a: 1 } }, /something_new/],
    [{ r: 5 }, /lora_A\.weight is \[3, \d+\], its model and configuration ask for \[5, \d+\]/],
    [{ rank_pattern: { "(": 2 } }, /the pattern \( is no regular expression/],
    [{ r: "x" }, /adapter_config\.json: r:/],
  ])("that say %j are refused", async (change, message) => {
    const folder = await copied(`refused-${Object.keys(change)[0]}-${Math.random()}`);
    const file = join(folder, "adapter_config.json");
    const json = JSON.parse(await readFile(file, "utf8")) as Record<string, unknown>;
    await writeFile(file, JSON.stringify({ ...json, ...change }));
    const before = liveTensors();
    const model = await loadModelFolder(goldenFolder("windows"));
    await expect(loadAdapter(model, folder)).rejects.toThrow(message);
    model.dispose();
    expect(liveTensors()).toBe(before);
  });

  it("of another model, or with parts missing, are refused", async () => {
    const model = await loadModelFolder(goldenFolder("qwen3vlmoe"));
    await expect(loadAdapter(model, source)).rejects.toThrow(/has no linear layer|ask for/);
    model.dispose();
    const half = await copied("half");
    await rm(join(half, "adapter_model.safetensors"));
    const other = await loadModelFolder(goldenFolder("windows"));
    await expect(loadAdapter(other, half)).rejects.toThrow(/adapter_model\.safetensors: not found/);
    other.dispose();
    const config = join(half, "adapter_config.json");
    const json = JSON.parse(await readFile(config, "utf8")) as Record<string, unknown>;
    await writeFile(config, JSON.stringify({ ...json, base_model_name_or_path: "org/gone" }));
    expect(() => baseOf(half)).toThrow(/base model org\/gone is not there/);
  });

  it("overwrite an adapter of the same layers and no other", async () => {
    const { model, adapter } = await withAdapter("windows");
    const wanted = logitsOf(model, "windows");
    noGrad(() => {
      for (const parameter of adapter.params.values()) scope(() => parameter.mul_(2));
    });
    await copyAdapter(model, adapter, source);
    expect(logitsOf(model, "windows")).toEqual(wanted);
    mergeAdapter(model, adapter);
    expect(maxDifference(logitsOf(model, "windows"), wanted)).toBeLessThan(1e-5);
    model.dispose();
    const fresh = await loadModelFolder(goldenFolder("windows"));
    fresh.adapter = initAdapter(
      fresh,
      new Map([["model.layers.0.self_attn.q_proj", { rank: 3, scale: 2 }]]),
      1,
    );
    await expect(copyAdapter(fresh, fresh.adapter, source)).rejects.toThrow(/lora says no adapter/);
    fresh.dispose();
  });
});

describe("chooseLayers", () => {
  const paths = new Map(
    ["a.layers.0.q_proj", "a.layers.0.k_proj", "a.layers.10.q_proj", "visual.q_proj"].map(
      (path) => [path, path],
    ),
  );
  const choose = (targets: string | string[], exclude?: string | string[]) =>
    chooseLayers(paths, { targets, exclude }).length;

  it("by ends of names, by an expression, all, and without some", () => {
    expect(choose(["q_proj"])).toBe(3);
    expect(choose(["0.q_proj"])).toBe(1);
    expect(choose("a\\..*\\.q_proj")).toBe(2);
    expect(choose("all-linear")).toBe(4);
    expect(choose("all-linear", "visual\\..*")).toBe(3);
    expect(choose("all-linear", ["k_proj"])).toBe(3);
  });

  it("says what means nothing", () => {
    expect(() => choose(["q_proj", "w_proj"])).toThrow(
      /no linear layer that is trained fits w_proj/,
    );
    expect(() => choose("q_proj")).toThrow(/fits q_proj/);
    expect(() => choose("(")).toThrow(/no regular expression/);
    expect(() => choose("all-linear", ".*")).toThrow(/leaves no layer/);
  });
});
