/** What `vigorl ask` reads besides its arguments: standard input, and lists of questions. */
import { dirname, resolve } from "node:path";
import { createInterface } from "node:readline";
import { z } from "zod";
import { VigorlError } from "../core/errors.ts";
import { programName } from "../core/paths.ts";
import { parseAt } from "../core/jsonl.ts";
import { openRegular } from "../core/regular-file.ts";
import { kindNames, type KindName } from "../task/kinds.ts";

/** All of standard input. @throws VigorlError("input") where it is a terminal, empty or enormous */
export async function readInput(what: string): Promise<Buffer> {
  if (process.stdin.isTTY)
    throw new VigorlError("usage", `ask: ${what} is to come from standard input, a terminal`, {
      hint: `pipe it in: ${programName} ask - QUESTION < picture.png`,
    });
  const chunks: Buffer[] = [];
  let numBytes = 0;
  for await (const chunk of process.stdin) {
    numBytes += (chunk as Buffer).length;
    if (numBytes > MAX_INPUT_BYTES)
      throw new VigorlError("input", `standard input: ${what} has more than 256 MiB`);
    chunks.push(chunk as Buffer);
  }
  if (numBytes === 0) throw new VigorlError("input", `standard input: ${what} is empty`);
  return Buffer.concat(chunks);
}

const MAX_INPUT_BYTES = 2 ** 28;

export async function readInputText(): Promise<string> {
  return (await readInput("the question")).toString("utf8");
}

export interface ListedQuestion {
  /** File and line. */
  readonly place: string;
  readonly id?: string | undefined;
  readonly picture: string;
  readonly question: string;
  readonly kind?: KindName | undefined;
}

/** Records of a dataset can be asked as they are: what is not a question stays out. */
const lineSchema = z.looseObject({
  id: z.union([z.string(), z.number().transform(String)]).optional(),
  image: z.string().min(1).optional(),
  question: z.string().regex(/\S/, "a question of some words"),
  kind: z.enum(kindNames).optional(),
});

/**
 * The questions of a list, as they are read: JSON objects or plain questions, a line each, about the
 * picture that the line names (relative to the list) or `picture`.
 * @param file "-" is standard input
 * @throws VigorlError("input") with file and line
 */
export async function* manyQuestions(
  file: string,
  picture: string | undefined,
): AsyncGenerator<ListedQuestion> {
  const name = file === "-" ? "standard input" : file;
  const folder = file === "-" ? "." : dirname(file);
  const input = file === "-" ? process.stdin : (await openRegular(file)).handle.createReadStream();
  let number = 0;
  for await (const line of createInterface({ input, crlfDelay: Infinity })) {
    const place = `${name}:${++number}`;
    const text = (number === 1 ? line.replace(/^\uFEFF/, "") : line).trim();
    if (text === "") continue;
    const { id, image, question, kind } = text.startsWith("{")
      ? parseAt(place, jsonAt(place, text), lineSchema)
      : { id: undefined, image: undefined, question: text, kind: undefined };
    const about = image === undefined ? picture : resolve(folder, image);
    if (about === undefined)
      throw new VigorlError("input", `${place}: names no picture`, {
        hint: 'write lines such as {"image": "a.png", "question": "…"}, or give a picture for all: vigorl ask a.png --questions FILE',
      });
    yield { place, id, picture: about, question, kind };
  }
}

function jsonAt(place: string, text: string): unknown {
  try {
    return JSON.parse(text);
  } catch (error) {
    const why = error instanceof Error ? error.message : "";
    throw new VigorlError("input", `${place}: not JSON: ${why}`);
  }
}
