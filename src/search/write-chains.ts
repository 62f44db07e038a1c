/**
 * Chains as other trainers read them: ShareGPT JSON for LLaMA-Factory (with its `dataset_info.json`),
 * and Parquet for verl and EasyR1, with pictures as bytes or as paths. Pictures are written as the
 * model saw them, at sizes that Qwen's preprocessor leaves alone, so the coordinates in the text stay
 * true whatever budget the other trainer has above them.
 */
import { basename, dirname, join, relative, resolve } from "node:path";
import { VigorlError } from "../core/errors.ts";
import { writeFileAtomic } from "../core/files.ts";
import {
  listColumn,
  pictureElement,
  textColumn,
  writeParquet,
  type ParquetSchema,
} from "../data/parquet-write.ts";
import { encodePng } from "../image/decode.ts";
import type { ModelImage } from "../image/model-image.ts";
import { pictureFile, writePicture } from "../image/picture-file.ts";
import type { ChatMessage } from "../text/chat.ts";
import type { EpisodeConfig } from "../task/episode-config.ts";
import type { TaskRecord } from "../task/record.ts";
import type { ChainLine } from "./linearize.ts";
import { renderChain } from "./render-chain.ts";

export interface WriteChainsOptions {
  readonly chains: Iterable<ChainLine>;
  /** The records of the chains, by id. */
  readonly records: ReadonlyMap<string, TaskRecord>;
  readonly episode: EpisodeConfig;
}

/**
 * Writes `file` (a JSON array), images/<hash>.png and dataset_info.json beside it. Returns how many.
 * @throws VigorlError("input") where a chain's record is missing or its pictures differ, "io".
 */
export async function writeShareGpt(file: string, options: WriteChainsOptions): Promise<number> {
  const rows: unknown[] = [];
  const pictures = new PictureFolder(dirname(resolve(file)));
  for await (const { chain, record, messages, pictures: shown } of rendered(options)) {
    const paths = await pictures.add(shown.map(({ seen }) => seen));
    const { answer } = record;
    rows.push({
      id: chain.id,
      metadata: {},
      messages: messages.map(plainMessage),
      images: paths,
      gt_answer: typeof answer === "string" ? answer : JSON.stringify(answer),
    });
  }
  await writeFileAtomic(file, `${JSON.stringify(rows, null, 1)}\n`);
  const name = basename(file, ".json");
  const info = { [name]: { file_name: basename(file), ...LLAMA_FACTORY } };
  const infoFile = join(dirname(resolve(file)), "dataset_info.json");
  await writeFileAtomic(infoFile, `${JSON.stringify(info, null, 2)}\n`);
  return rows.length;
}

/**
 * Writes a Parquet file with the columns id, messages, images and gt_answer; pictures inside it as
 * PNG bytes, or beside it with their paths in the column. Returns how many rows.
 * @throws as `writeShareGpt`.
 */
export async function writeChainParquet(
  file: string,
  options: WriteChainsOptions,
  pictures: "bytes" | "paths",
): Promise<number> {
  const folder = new PictureFolder(dirname(resolve(file)));
  let count = 0;
  async function* rows() {
    for await (const { chain, record, messages, pictures: shown } of rendered(options)) {
      count++;
      const { answer } = record;
      const bytes = async (image: ModelImage) => ({
        bytes: await encodePng(image),
        path: `${image.hash}.png`,
      });
      const images = shown.map(({ seen }) => seen);
      yield {
        id: chain.id,
        messages: messages.map(plainMessage),
        images:
          pictures === "bytes" ? await Promise.all(images.map(bytes)) : await folder.add(images),
        gt_answer: typeof answer === "string" ? answer : JSON.stringify(answer),
      };
    }
  }
  await writeParquet(file, COLUMNS, parquetSchema(pictures), rows());
  return count;
}

const LLAMA_FACTORY = {
  formatting: "sharegpt",
  columns: { messages: "messages", images: "images" },
  tags: {
    role_tag: "role",
    content_tag: "content",
    user_tag: "user",
    assistant_tag: "assistant",
    system_tag: "system",
  },
};

async function* rendered({ chains, records, episode }: WriteChainsOptions) {
  for (const chain of chains) {
    const record = records.get(chain.recordId);
    if (record === undefined) {
      throw new VigorlError("input", `chain ${chain.id}: no record has the id ${chain.recordId}`, {
        hint: "give the data that the search ran on",
      });
    }
    yield { chain, record, ...(await renderChain(chain, record, episode)) };
  }
}

/** A message as plain text, `<image>` where a picture stands. */
function plainMessage({ role, content }: ChatMessage): { role: string; content: string } {
  if (typeof content === "string") return { role, content };
  const parts = content.map((part) => (part.type === "image" ? "<image>" : part.text));
  return { role, content: parts.join("") };
}

/** Pictures beside a file, each written once. */
class PictureFolder {
  private readonly folder: string;
  private readonly written = new Set<string>();

  constructor(folder: string) {
    this.folder = folder;
  }

  /** Writes what is not there yet; returns the paths, relative to the folder. */
  async add(images: readonly ModelImage[]): Promise<string[]> {
    const paths: string[] = [];
    for (const image of images) {
      if (!this.written.has(image.hash)) await writePicture(this.folder, image);
      this.written.add(image.hash);
      paths.push(relative(this.folder, pictureFile(this.folder, image.hash)));
    }
    return paths;
  }
}

const COLUMNS = ["id", "messages", "images", "gt_answer"];

function parquetSchema(pictures: "bytes" | "paths"): ParquetSchema {
  const message: ParquetSchema = [
    { name: "element", repetition_type: "REQUIRED", num_children: 2 },
    textColumn("role"),
    textColumn("content"),
  ];
  return [
    textColumn("id"),
    ...listColumn("messages", message),
    ...listColumn("images", pictures === "paths" ? [textColumn("element")] : pictureElement),
    textColumn("gt_answer"),
  ];
}
