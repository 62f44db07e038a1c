/** Questions of the user's own making: a module whose default export gives them. */
import { dirname, resolve } from "node:path";
import { VigorlError } from "../core/errors.ts";
import { loadOwn } from "../core/own-module.ts";
import { findPath } from "../core/paths.ts";
import type { RgbImage } from "../image/decode.ts";
import {
  fromLine,
  parseRecordLine,
  type ImageSource,
  type RecordLine,
  type TaskRecord,
} from "../task/record.ts";

/** A path relative to the module, the bytes of an image file, pixels, or a function that draws them. */
export type OwnImage = string | Uint8Array | RgbImage | (() => RgbImage | Promise<RgbImage>);

/** A question: a line of a dataset whose image need not be a file. */
export type OwnRecord = Omit<RecordLine, "image" | "images"> & {
  readonly image?: OwnImage;
  readonly images?: readonly OwnImage[];
};

export interface OwnTaskOptions {
  readonly split: "train" | "heldout" | "validation";
  /** At most so many are taken. */
  readonly count: number | null;
  readonly seed: number;
}

/** The default export of `{module}` in a recipe's data. The same options must give the same questions. */
export type TaskFunction = (
  options: OwnTaskOptions,
) =>
  | Iterable<OwnRecord>
  | AsyncIterable<OwnRecord>
  | Promise<Iterable<OwnRecord> | AsyncIterable<OwnRecord>>;

/** @throws VigorlError("input") for a module that cannot be loaded, or a record that is none, by its number */
export async function ownRecords(
  code: string | TaskFunction,
  options: OwnTaskOptions,
): Promise<TaskRecord[]> {
  const task = await loadOwn("data", code);
  const name = typeof code === "string" ? code : "the task";
  if (typeof task !== "function")
    throw new VigorlError("input", `data: ${name}: its default export is no function`);
  const root = typeof code === "string" ? dirname(resolve(findPath(code))) : process.cwd();
  const records: TaskRecord[] = [];
  const ids = new Set<string>();
  for await (const own of await task(options)) {
    if (options.count !== null && records.length >= options.count) break;
    const number = records.length + 1;
    const record = recordOf(own, `${name}: record ${number}`, String(number), root);
    if (ids.has(record.id))
      throw new VigorlError(
        "input",
        `${name}: record ${number}: a second one with the id "${record.id}"`,
      );
    ids.add(record.id);
    records.push(record);
  }
  if (records.length === 0) throw new VigorlError("input", `${name}: gave no records`);
  return records;
}

function recordOf(own: OwnRecord, place: string, id: string, root: string): TaskRecord {
  const { image, images, ...rest } = own;
  const line = parseRecordLine(place, rest);
  const shown = images ?? (image === undefined ? [] : [image]);
  if (shown.length === 0) throw new VigorlError("input", `${place}: no image or images`);
  return fromLine(
    line,
    shown.map((one, i) => imageOf(one, `${place}, image ${i + 1}`, root)),
    id,
  );
}

function imageOf(image: OwnImage, name: string, root: string): ImageSource {
  if (typeof image === "string") return { kind: "path", path: resolve(root, image) };
  if (image instanceof Uint8Array) return { kind: "bytes", bytes: image, name };
  if (typeof image === "function") return { kind: "render", name, render: image };
  const { widthPx, heightPx, data } = image;
  if (data?.length === widthPx * heightPx * 3) return { kind: "render", name, render: () => image };
  throw new VigorlError("input", `${name}: must be a path, bytes, or {widthPx, heightPx, data}`, {
    hint: "data holds red, green and blue of each pixel, row by row",
  });
}
