/** Models by their name on the hub, wherever a model folder is expected. */
import { cachedSnapshot, fetchSnapshot, isHubName, type HubOptions } from "../core/hub.ts";

/** Weights in safetensors, and what stands beside them: no pickles, no other formats. */
const wanted =
  /^(?:config|generation_config|preprocessor_config|processor_config|video_preprocessor_config|tokenizer|tokenizer_config|special_tokens_map|added_tokens|vocab|chat_template|adapter_config|model\.safetensors\.index)\.json$|^merges\.txt$|^chat_template\.jinja$|^[^/]+\.safetensors$/;

const needs = [
  "config.json, generation_config.json, preprocessor_config.json (or processor_config.json)",
  "tokenizer.json, tokenizer_config.json (or vocab.json with merges.txt), chat_template.json or .jinja",
  "model.safetensors, or model.safetensors.index.json with all model-*.safetensors",
];

/**
 * The folder of a model that is named `owner/name`: the cache's, else fetched; any other path as it is.
 * @throws VigorlError("io") without a network, saying which files are needed and where
 */
export async function hubModelFolder(path: string, options: HubOptions = {}): Promise<string> {
  if (!isHubName(path)) return path;
  const repo = { kind: "model", name: path } as const;
  const { folder } =
    (await cachedSnapshot(repo, options)) ??
    (await fetchSnapshot(repo, (file) => wanted.test(file), needs, options));
  return folder;
}
