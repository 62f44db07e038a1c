/** JSON files: one error that names the file, whether it is missing, half, or of another form. */
import { isUtf8 } from "node:buffer";
import type { z } from "zod";
import { errno, VigorlError } from "./errors.ts";
import { ioError } from "./files.ts";
import { jsonProblem } from "./json-text.ts";
import { parseAt } from "./jsonl.ts";
import { readRegular, readText } from "./regular-file.ts";

/** More than any file of ours takes. */
const maxJsonBytes = 1 << 29;

/**
 * Reads and checks a JSON file. @throws VigorlError("io") where it cannot be read, "input" with `hint`
 * where it is not what `schema` says
 */
export async function readJsonFile<T>(
  file: string,
  schema: z.ZodType<T>,
  hint: string,
): Promise<T> {
  const bytes = await readRegular(file, maxJsonBytes);
  const text = textOf(bytes, file);
  const problem = jsonProblem(text);
  try {
    const value: unknown = JSON.parse(text);
    if (problem !== null) throw new VigorlError("input", `${file}: ${problem}`);
    return parseAt(file, value, schema);
  } catch (error) {
    if (error instanceof VigorlError)
      throw new VigorlError("input", error.message, { hint, cause: error });
    throw new VigorlError("input", `${file}: cut off, or not JSON`, { hint, cause: error });
  }
}

/** Without the mark that some editors begin a file with. @throws VigorlError("input") */
function textOf(bytes: Buffer, file: string): string {
  if (isUtf8(bytes)) return bytes.toString("utf8").replace(/^\ufeff/, "");
  throw new VigorlError("input", `${file}: is not UTF-8`, { hint: "save the file as UTF-8" });
}

/** More than any file beside the weights of a model takes; the largest are vocabularies. */
const maxModelFileBytes = 1 << 26;

const damaged = "the file is damaged; fetch the model folder again";

/** A text file of a model folder, or undefined where there is none. @throws VigorlError("io" | "input") */
export async function readModelText(file: string): Promise<string | undefined> {
  try {
    return await readText(file, maxModelFileBytes);
  } catch (error) {
    if (errno(error) === "ENOENT") return undefined;
    throw ioError(error, file);
  }
}

/** As `readModelText`, parsed; what it says is for the caller to check. */
export async function readModelJson(file: string): Promise<unknown> {
  const text = (await readModelText(file))?.replace(/^\ufeff/, "");
  if (text === undefined) return undefined;
  const problem = jsonProblem(text);
  if (problem !== null) throw new VigorlError("input", `${file}: ${problem}`, { hint: damaged });
  try {
    return JSON.parse(text);
  } catch (cause) {
    throw new VigorlError("input", `${file}: not JSON`, { hint: damaged, cause });
  }
}
