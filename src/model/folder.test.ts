import { execFileSync, spawnSync } from "node:child_process";
import { cp, mkdtemp, readFile, readdir, rm, writeFile } from "node:fs/promises";
import { homedir, tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, describe, expect, it } from "vitest";
import { noGrad, scope } from "../torch/scope.ts";
import { zeros } from "../torch/ops.ts";
import { openSafetensors } from "../torch/safetensors.ts";
import { writeSafetensors } from "../torch/safetensors-write.ts";
import { planBatch } from "./batch.ts";
import {
  goldenFolder,
  goldenNames,
  goldenPatches,
  maxDifference,
  readGolden,
} from "./fixtures/golden.ts";
import { loadModelFolder, readModelConfig, saveModelFolder } from "./folder.ts";
import { initModel } from "./init.ts";
import type { Parameters } from "./parameters.ts";

const root = await mkdtemp(join(tmpdir(), "vigorl-model-"));
afterAll(() => rm(root, { recursive: true, force: true }));

const python = process.env.VIGORL_PYTHON ?? join(homedir(), ".cache/vigorl/peers/bin/python");
const hasTransformers =
  spawnSync(python, [
    "-c",
    "import importlib.util as u, sys; sys.exit(u.find_spec('transformers') is None)",
  ]).status === 0;

describe("model folders", () => {
  it.each([
    ["windows", "model.layers.0.mlp.up_proj.weight", [40, 24]],
    ["qwen3vl", "model.language_model.layers.0.self_attn.q_norm.weight", [16]],
    // Experts the other way round than transformers saves them, as published.
    ["qwen3vlmoe", "model.language_model.layers.0.mlp.experts.down_proj", [5, 12, 24]],
    // One tensor a layer, as published, of what transformers saved expert by expert.
    ["qwen35moe", "model.language_model.layers.0.mlp.experts.gate_up_proj", [5, 24, 24]],
  ])(
    "come back as they were saved, in place of what stood there (%s)",
    async (name, key, shape) => {
      const model = await loadModelFolder(goldenFolder(name));
      const folder = join(root, `again-${name}`);
      await saveModelFolder(model, folder);
      await saveModelFolder(model, folder);
      const again = await loadModelFolder(folder);
      expect([...again.params.keys()].sort()).toEqual([...model.params.keys()].sort());
      const changed = [...model.params].filter(
        ([name, parameter]) => again.params.get(name)?.equal(parameter) !== true,
      );
      expect(changed).toEqual([]);
      const file = openSafetensors(folder);
      expect(file.info(key).shape).toEqual(shape);
      file.close();
      expect((await readdir(root)).filter((name) => name.includes("writing"))).toEqual([]);
      model.dispose();
      again.dispose();
    },
  );

  it("pass over layers that predict several tokens, and nothing else that is unknown", async () => {
    const folder = join(root, "several");
    await cp(goldenFolder("qwen35"), folder, { recursive: true });
    const add = (name: string): void =>
      scope(() => {
        const file = openSafetensors(goldenFolder("qwen35"));
        const tensors = new Map(file.names.map((one) => [one, file.read(one)]));
        file.close();
        tensors.set(name, zeros([3, 4]));
        writeSafetensors(join(folder, "model.safetensors"), tensors);
      });
    add("mtp.layers.0.mlp.up_proj.weight");
    const model = await loadModelFolder(folder);
    const plain = await loadModelFolder(goldenFolder("qwen35"));
    expect([...model.params.keys()]).toEqual([...plain.params.keys()]);
    for (const own of [model, plain]) own.dispose();
    add("model.language_model.layers.0.other.weight");
    await expect(loadModelFolder(folder)).rejects.toThrow(/config\.json does not know it/);
  });

  it("with an expert missing are refused by the name of their parts", async () => {
    const folder = join(root, "experts");
    await cp(goldenFolder("qwen35moe"), folder, { recursive: true });
    scope(() => {
      const file = openSafetensors(goldenFolder("qwen35moe"));
      const tensors = new Map(file.names.map((one) => [one, file.read(one)]));
      file.close();
      tensors.delete("model.language_model.layers.1.mlp.experts.3.up_proj.weight");
      writeSafetensors(join(folder, "model.safetensors"), tensors);
    });
    await expect(loadModelFolder(folder)).rejects.toThrow(
      /1 of \d+ weights are missing, first model\.layers\.1\.mlp\.experts\.gate_up_proj/,
    );
  });

  it("carry the tokenizer and preprocessor of the folder they were loaded from, and extra files", async () => {
    const source = join(root, "source");
    await cp(goldenFolder("tied"), source, { recursive: true });
    await writeFile(join(source, "tokenizer.json"), "{}");
    await writeFile(join(source, "preprocessor_config.json"), "{}");
    await writeFile(join(source, "notes.txt"), "stays behind");
    const model = await loadModelFolder(source);
    const saved = join(root, "saved");
    const extra = (folder: string): Promise<void> => writeFile(join(folder, "state.json"), "{}");
    await saveModelFolder(model, saved, { dtype: "bfloat16", extra });
    expect((await readdir(saved)).sort()).toEqual([
      "config.json",
      "model.safetensors",
      "preprocessor_config.json",
      "state.json",
      "tokenizer.json",
    ]);
    expect((await readModelConfig(saved)).storedDtype).toBe("bfloat16");
    model.dispose();
  });

  it("keep the old folder when saving fails", async () => {
    const model = await loadModelFolder(goldenFolder("tied"));
    const folder = join(root, "kept");
    await saveModelFolder(model, folder);
    const before = await readFile(join(folder, "config.json"), "utf8");
    const extra = (): Promise<void> => Promise.reject(new Error("disk on fire"));
    await expect(saveModelFolder(model, folder, { extra })).rejects.toThrow("disk on fire");
    expect(await readFile(join(folder, "config.json"), "utf8")).toBe(before);
    model.dispose();
  });

  it("open under transformers' module paths as well", async () => {
    const model = await loadModelFolder(goldenFolder("windows"));
    const folder = join(root, "paths");
    await saveModelFolder(model, folder);
    const renamed: Parameters = new Map();
    for (const [name, parameter] of model.params) {
      const path = name.startsWith("visual.") ? `model.${name}` : name;
      renamed.set(path.replace(/^model\.(?!visual)/, "model.language_model."), parameter);
    }
    writeSafetensors(join(folder, "model.safetensors"), renamed);
    const again = await loadModelFolder(folder);
    expect([...again.params.keys()].sort()).toEqual([...model.params.keys()].sort());
    model.dispose();
    again.dispose();
  });

  it("say what is wrong with them", async () => {
    await expect(loadModelFolder(join(root, "nowhere"))).rejects.toThrow(
      /nowhere.*config\.json: not found/,
    );
    const broken = join(root, "broken");
    await cp(goldenFolder("tied"), broken, { recursive: true });
    const config = JSON.parse(await readFile(join(broken, "config.json"), "utf8")) as {
      text_config: { num_hidden_layers: number; intermediate_size: number };
    };
    const write = (): Promise<void> =>
      writeFile(join(broken, "config.json"), JSON.stringify(config));
    config.text_config.num_hidden_layers = 3;
    await write();
    await expect(loadModelFolder(broken)).rejects.toThrow(
      /broken: 12 of \d+ weights are missing, first model\.layers\.2/,
    );
    config.text_config.num_hidden_layers = 1;
    await write();
    await expect(loadModelFolder(broken)).rejects.toThrow(/model\.layers\.1.*does not know it/);
    config.text_config.num_hidden_layers = 2;
    config.text_config.intermediate_size = 44;
    await write();
    await expect(loadModelFolder(broken)).rejects.toThrow(/\[24, 40\].*asks for \[24, 44\]/);
    await writeFile(join(broken, "config.json"), "{");
    await expect(loadModelFolder(broken)).rejects.toThrow(/config\.json: not JSON/);
  });
});

describe("initModel", () => {
  it("draws the same weights for a seed, norms one and biases zero", async () => {
    const config = await readModelConfig(goldenFolder("tied"));
    const first = initModel(config, { seed: 1 });
    const same = initModel(config, { seed: 1 });
    const other = initModel(config, { seed: 2 });
    const embed = "model.embed_tokens.weight";
    const values = first.params.get(embed)!.toNumbers();
    expect(same.params.get(embed)!.toNumbers()).toEqual(values);
    expect(other.params.get(embed)!.toNumbers()).not.toEqual(values);
    const deviation = Math.sqrt(values.reduce((sum, x) => sum + x * x, 0) / values.length);
    expect(deviation).toBeGreaterThan(0.018);
    expect(deviation).toBeLessThan(0.022);
    expect(new Set(first.params.get("model.norm.weight")!.toNumbers())).toEqual(new Set([1]));
    const bias = first.params.get("model.layers.0.self_attn.q_proj.bias")!.toNumbers();
    expect(new Set(bias)).toEqual(new Set([0]));
    for (const model of [first, same, other]) model.dispose();
  });
});

describe.skipIf(!hasTransformers)("what we save, in transformers (VIGORL_PYTHON)", () => {
  it("has the same logits", async () => {
    const mine: number[][] = [];
    const paths: string[] = [];
    for (const name of goldenNames) {
      const golden = readGolden(name);
      const model = await loadModelFolder(golden.folder);
      noGrad(() => {
        for (const parameter of model.params.values()) parameter.mul_(1.01);
      });
      const folder = join(root, `live-${name}`);
      await saveModelFolder(model, folder);
      const logits = scope(() =>
        noGrad(() => {
          const batch = planBatch([golden.sequences[0]], model.config);
          const features = model.encodeImages(batch.images, goldenPatches(golden));
          return model.logits(model.hidden(batch, { features })).toNumbers();
        }),
      );
      mine.push(logits);
      paths.push(folder, golden.folder);
      model.dispose();
    }
    const script = new URL("../../scripts/fixtures/model_logits.py", import.meta.url);
    const out = execFileSync(python, [script.pathname, ...paths], {
      encoding: "utf8",
      stdio: ["ignore", "pipe", "ignore"],
      env: { ...process.env, OMP_NUM_THREADS: "1" },
    });
    const theirs = JSON.parse(out) as number[][];
    const differences = mine.map((logits, i) => maxDifference(logits, theirs[i]));
    expect(Math.max(...differences)).toBeLessThan(1e-4);
  });
});
