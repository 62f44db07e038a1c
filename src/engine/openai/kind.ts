/** A server with an OpenAI-compatible API, as `open.ts` knows it. */
import { findPath } from "../../core/paths.ts";
import { loadChatFormat } from "../../text/chat.ts";
import { samplingOnly } from "../capabilities.ts";
import type { EngineKind } from "../kind.ts";
import { openaiSchema, remoteOptions } from "./options.ts";
import { findServedModel, openRemoteSampler } from "./sampler.ts";

export const openaiKind: EngineKind<typeof openaiSchema> = {
  schema: openaiSchema,
  // Whether ids come back is the server's affair, and found out when it is asked what it is.
  can: { ...samplingOnly, tokenExact: true },
  label: ({ url, model }) => `${model === "auto" ? "the model" : model} at ${url}`,
  processorFolder: ({ folder }) => (folder === undefined ? undefined : findPath(folder)),
  async resolve(config, { signal }) {
    const { model, dialect, maxPositions } = await findServedModel(remoteOptions(config), signal);
    return { ...config, model, server: dialect, maxPositions: maxPositions ?? "auto" };
  },
  async open(config, { processorFolder, signal }) {
    const chat = await loadChatFormat(processorFolder);
    return openRemoteSampler({ ...remoteOptions(config), chat }, signal);
  },
};
