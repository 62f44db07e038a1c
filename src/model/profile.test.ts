import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, expect, it } from "vitest";
import { families } from "./families/table.ts";
import { goldenFolder } from "./fixtures/golden.ts";
import { readModelConfig } from "./folder.ts";
import { readProfile, requireSamePatches } from "./profile.ts";

let folder: string;
beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), "vigorl-profile-"));
});
afterEach(() => rm(folder, { recursive: true }));

async function write(name: string, value: unknown): Promise<void> {
  await writeFile(join(folder, name), JSON.stringify(value));
}

it.each(families.map((family) => [family.modelType, family] as const))(
  "%s: the family's own where the files say nothing",
  async (modelType, { preprocessor, coordinates, dialect }) => {
    await write("config.json", { model_type: modelType });
    await write("preprocessor_config.json", {});
    expect(await readProfile(folder)).toEqual({ preprocessor, coordinates, dialect });
  },
);

it("reads the image processor that is kept with the others, before one of its own", async () => {
  await write("config.json", { model_type: "qwen3_vl" });
  const size = { shortest_edge: 1024, longest_edge: 4096 };
  await write("processor_config.json", {
    processor_class: "Qwen3VLProcessor",
    image_processor: { image_processor_type: "Qwen2VLImageProcessor", patch_size: 8, size },
    video_processor: { patch_size: 32 },
  });
  const wanted = { patchSize: 8, minPixels: 1024, maxPixels: 4096, imageMean: [0.5, 0.5, 0.5] };
  expect((await readProfile(folder)).preprocessor).toMatchObject(wanted);
  await write("preprocessor_config.json", { patch_size: 4 });
  expect((await readProfile(folder)).preprocessor).toMatchObject(wanted);
  await write("processor_config.json", { processor_class: "Qwen3VLProcessor" });
  expect((await readProfile(folder)).preprocessor.patchSize).toBe(4);
});

it("tells patches of two models apart", async () => {
  const config = await readModelConfig(goldenFolder("qwen3vl"));
  const { preprocessor } = await readProfile(goldenFolder("qwen3vl"));
  expect(() => requireSamePatches(preprocessor, config, "m")).not.toThrow();
  for (const [change, message] of [
    [{ patchSize: 14 }, /patch_size is 14, config\.json's vision_config\.patch_size 4/],
    [{ temporalPatchSize: 1 }, /temporal_patch_size is 1/],
    [{ mergeSize: 4 }, /merge_size is 4, .*spatial_merge_size 2/],
  ] as const)
    expect(() => requireSamePatches({ ...preprocessor, ...change }, config, "m")).toThrow(message);
});

it("names the file that is missing, damaged or not honoured", async () => {
  await expect(readProfile(folder)).rejects.toThrow(/config\.json is missing/);
  await write("config.json", { model_type: "qwen2_5_vl" });
  await expect(readProfile(folder)).rejects.toThrow(/preprocessor_config\.json is missing/);
  await write("processor_config.json", { image_processor: { do_normalize: false } });
  await expect(readProfile(folder)).rejects.toThrow(
    /processor_config\.json: image_processor: do_normalize/,
  );
  await writeFile(join(folder, "processor_config.json"), "{");
  await expect(readProfile(folder)).rejects.toThrow(/processor_config\.json: not JSON/);
});
