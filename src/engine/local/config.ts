/** The `engine` section of kind `local`: libtorch in worker threads of this process. */
import { z } from "zod";
import { autoOr } from "../../core/auto.ts";
import { modelText } from "../../core/config-paths.ts";

const gib = z.number().positive();

export const localSchema = z.strictObject({
  kind: z.literal("local"),
  model: modelText(
    "a Hugging Face model folder, that of an adapter, whose base is opened with it, a run's, for its best weights, or owner/name on the hub",
  ).default("models/nano"),
  adapter: modelText(
    "folder of a LoRA adapter in peft's layout that belongs to the model, or of the run that trained it",
  ).optional(),
  device: z
    .string()
    .regex(/^(auto|cpu|cuda(:\d+)?)$/, "auto, cpu, cuda or cuda:N")
    .default("auto")
    .describe("auto, cpu, cuda or cuda:N; auto: a GPU where there is one"),
  dtype: z
    .enum(["auto", "float32", "bfloat16"])
    .default("auto")
    .describe(
      "arithmetic; auto: for models above hidden size 512 that are stored in half precision bfloat16, on a CPU only where nothing is learned; else float32",
    ),
  maxPositions: autoOr(z.int().min(1)).describe(
    "longest sequence, prompt and answer together; auto: what the model allows and the cache's memory holds",
  ),
  slots: autoOr(z.int().min(1).max(4096)).describe(
    "sequences that one sampler decodes side by side, at most; auto: 64 (32 where samplers have one thread), fewer where memory is short; on a GPU in half precision 256, as many of them as have room for the sequences at hand",
  ),
  samplers: autoOr(z.int().min(1).max(64)).describe(
    "threads that sample, each with slots of its own; auto: one a thread (at most 8) for models up to hidden size 512 on a CPU, else one",
  ),
  threads: autoOr(z.int().min(1).max(1024)).describe(
    "threads of the tensor engine; auto: libtorch's choice, all cores",
  ),
  tokensPerMicroBatch: autoOr(z.int().min(1)).describe(
    "padded positions of one learning micro-batch; a longer sequence goes alone; auto: 4096",
  ),
  gradientCheckpointing: z
    .boolean()
    .default(false)
    .describe(
      "while learning, keep what goes from layer to layer alone, in the vision tower too where it is trained, and run each layer again in the backward pass: less memory, a third more work, the same bits",
    ),
  memory: z
    .strictObject({
      weightsGiB: autoOr(gib).describe(
        "models whose weights need more are refused before they are loaded; auto: what is free",
      ),
      cacheGiB: autoOr(gib).describe(
        "keys and values of all slots; auto: half of what is free beside the weights",
      ),
      imagesGiB: autoOr(gib).describe("kept features of images, a sampler; auto: 0.5"),
    })
    .prefault({})
    .describe("bounds on what it holds"),
});
export type LocalConfig = z.output<typeof localSchema>;
