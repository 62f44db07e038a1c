/**
 * Chains as other trainers read them: ShareGPT JSON for LLaMA-Factory (with its `dataset_info.json`),
 * and Parquet for verl and EasyR1, with pictures as bytes or as paths. Pictures are written as the
 * model saw them, at sizes that Qwen's preprocessor leaves alone, so the coordinates in the text stay
 * true. Conversations are rendered one by one; Parquet is written in row groups.
 */
import { access } from "node:fs/promises";
import { basename, dirname, join } from "node:path";
import { parquetWriteRows } from "./parquet-rows.ts";
import { VigorlError } from "../core/errors.ts";
import { writeFileAtomic } from "../core/files.ts";
import { encodePng } from "../image/decode.ts";
import type { ModelImage } from "../image/model-image.ts";
import type { ChatMessage } from "../text/chat.ts";
import type { EpisodeConfig } from "../task/episode-config.ts";
import type { TaskRecord } from "../task/record.ts";
import type { ChainLine } from "./linearize.ts";
import { renderChain } from "./render-chain.ts";
