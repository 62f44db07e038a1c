/** JSON files of ours: one error that names the file, whether it is missing, half, or of another form. */
import type { z } from "zod";
import { VigorlError } from "./errors.ts";
import { parseAt } from "./jsonl.ts";
import { readRegular } from "./regular-file.ts";

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
  try {
    return parseAt(file, JSON.parse(bytes.toString("utf8")), schema);
  } catch (error) {
    if (error instanceof VigorlError)
      throw new VigorlError("input", error.message, { hint, cause: error });
    throw new VigorlError("input", `${file}: cut off, or not JSON`, { hint, cause: error });
  }
}
