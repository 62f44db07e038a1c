/**
 * Qwen2-VL (arXiv:2409.12191): a tower of layer norms and quick-GELU in which every block attends to the
 * whole image; the language layers of Qwen2.5-VL. It points in thousandths of the image.
 */
import type { PreprocessorConfig } from "../../image/preprocessor-config.ts";
import type { VisionConfig } from "../config.ts";
import {
  count,
  modelConfig,
  openConfig,
  readText,
  readTower,
  readVision,
  size,
  towerSchema,
  type ConfigFile,
  type TextTraits,
} from "./config-json.ts";
import { shortNames, type Family } from "./family.ts";

/** The language layers of Qwen2-VL and Qwen2.5-VL. */
export const qwen2Text: TextTraits = {
  attentionBias: true,
  headNorms: false,
  mropeInterleaved: false,
  centredNorms: false,
  outputGates: false,
  hasDelta: false,
  defaults: {
    rmsNormEps: 1e-5,
    ropeTheta: 1e6,
    mropeSection: [16, 24, 24],
    maxPositions: 32768,
  },
};

/** The preprocessor of Qwen2-VL and Qwen2.5-VL; mean and deviation are CLIP's. */
export const qwen2Preprocessor: PreprocessorConfig = {
  patchSize: 14,
  temporalPatchSize: 2,
  mergeSize: 2,
  imageMean: [0.48145466, 0.4578275, 0.40821073],
  imageStd: [0.26862954, 0.26130258, 0.27577711],
  minPixels: 3136,
  maxPixels: 12_845_056,
};

/** Older files of both families say it in either part. */
export function qwen2Tied({ root, text }: ConfigFile): boolean {
  return root.tie_word_embeddings === true || text.tie_word_embeddings === true;
}

export const qwen2_vl: Family = {
  modelType: "qwen2_vl",
  title: "Qwen2-VL",
  architecture: "Qwen2VLForConditionalGeneration",
  processor: "Qwen2VLProcessor",
  imageProcessor: "Qwen2VLImageProcessor",
  readConfig(json, source) {
    const file = openConfig(json, source);
    const text = readText(file, qwen2Text);
    return modelConfig(file, text, visionConfig(file), qwen2Tied(file));
  },
  tower: { up: "fc1", down: "fc2", mergerNorm: "ln_q", mergerIn: "mlp.0", mergerOut: "mlp.2" },
  publishedName: shortNames,
  preprocessor: qwen2Preprocessor,
  coordinates: "relative",
  dialect: "vigorl",
};

/** `hidden_size` is the width of the features here; published files leave most of the rest out. */
const visionSchema = towerSchema.extend({
  depth: count.default(32),
  embed_dim: size.default(1280),
  hidden_size: size,
  mlp_ratio: size.default(4),
  num_heads: size.default(16),
});

function visionConfig(file: ConfigFile): VisionConfig {
  const read = readVision(file, visionSchema);
  return readTower(
    read,
    { patchBias: false, norm: "layer", mlp: "quickGelu", activation: "quick_gelu" },
    {
      hiddenSize: read.embed_dim,
      intermediateSize: read.embed_dim * read.mlp_ratio,
      outHiddenSize: read.hidden_size,
    },
    qwen2Preprocessor.patchSize,
    file.source,
  );
}
