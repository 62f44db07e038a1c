/**
 * An episode as one line of JSON that can be read without this program: who wrote what, the images by
 * hash with their frames, points, crops, answer, reward by term and how it ended. Pictures lie beside
 * the file, `images/<hash>.png`, each once. `version` changes when a reader has to know.
 */
import { z } from "zod";
import { inside } from "../core/inside.ts";
import { appendJsonl, readJsonlAll } from "../core/jsonl.ts";
import type { ModelImage } from "../image/model-image.ts";
import { writePicture } from "../image/picture-file.ts";
import type { ChatFormat } from "../text/chat.ts";
import type { TaskRecord } from "./record.ts";
import type { Reward } from "./reward.ts";
import type { AuthoredChunk, Trajectory } from "./trajectory.ts";
import { kindNames } from "./kinds.ts";

const size = z.strictObject({ widthPx: z.int(), heightPx: z.int() });
const author = z.enum(["prompt", "model", "environment", "forced"]);
const frameless = z.strictObject({ x: z.number(), y: z.number() });
const box = z.tuple([z.number(), z.number(), z.number(), z.number()]);
const toolPlace = z.discriminatedUnion("kind", [
  z.strictObject({ kind: z.literal("point"), x: z.number(), y: z.number() }),
  z.strictObject({
    kind: z.literal("box"),
    x0: z.number(),
    y0: z.number(),
    x1: z.number(),
    y1: z.number(),
  }),
]);

export const traceSchema = z.strictObject({
  version: z.literal(1),
  recordId: z.string(),
  /** Evaluation: which arm; training: which step and which member of the group. */
  arm: z.string().optional(),
  step: z.int().optional(),
  member: z.int().optional(),
  question: z.string(),
  kind: z.enum(kindNames),
  truth: z.unknown(),
  /** The conversation in order; joining the texts gives what the model read and wrote. */
  parts: z.array(
    z.discriminatedUnion("type", [
      z.strictObject({
        type: z.literal("text"),
        author,
        turn: z.int(),
        text: z.string(),
        /** Why the tokens behind it may not be those that were sampled. */
        inexact: z.enum(["text", "prompt"]).optional(),
      }),
      z.strictObject({
        type: z.literal("image"),
        author,
        turn: z.int(),
        hash: z.string(),
        widthPx: z.int(),
        heightPx: z.int(),
        /** "resized": a question's image as the model sees it; "crop": a part of the first one. */
        frame: z.enum(["resized", "crop"]),
        /** Of a crop: [x0, y0, x1, y1] in original pixels. */
        boxOriginal: box.optional(),
      }),
    ]),
  ),
  view: z
    .strictObject({
      original: size,
      resized: size,
      coordinates: z.enum(["resized", "relative"]),
    })
    .nullable(),
  /** Points of the thoughts, in pixels of the first image as the model sees it. */
  points: z.array(
    z.strictObject({ turn: z.int(), x: z.number(), y: z.number(), inImage: z.boolean() }),
  ),
  zooms: z.array(
    z.strictObject({
      turn: z.int(),
      place: toolPlace,
      /** In pixels of the first image as the model sees it. */
      at: frameless,
      boxOriginal: box,
      outputSize: size,
      imageHash: z.string(),
      control: z.enum(["none", "blank", "elsewhere"]),
    }),
  ),
  turns: z.array(
    z.strictObject({
      text: z.string(),
      numTokens: z.int(),
      forced: z.boolean(),
      wellFormed: z.boolean(),
      fault: z.enum(["notJson", "unknownTool", "noPlace", "outside"]).nullable(),
      weightsVersion: z.int(),
    }),
  ),
  answer: z.string().nullable(),
  reward: z
    .strictObject({
      total: z.number(),
      accuracy: z.number(),
      terms: z.record(z.string(), z.number()),
    })
    .nullable(),
  stopReason: z.string(),
  error: z.string().nullable(),
  seed: z.number(),
  numTokens: z.strictObject({
    prompt: z.int(),
    model: z.int(),
    environment: z.int(),
    forced: z.int(),
  }),
  seconds: z.number(),
});

export type Trace = z.infer<typeof traceSchema>;

/** Where in a run an episode was played. */
export interface TracePlace {
  readonly arm?: string;
  readonly step?: number;
  readonly member?: number;
}

/** Writes an episode down. `reward` is null where nothing scored it. */
export function toTrace(
  episode: Trajectory,
  record: TaskRecord,
  reward: Reward | null,
  place: TracePlace,
  chat: ChatFormat,
): Trace {
  const boxes = episode.zooms.map(({ boxOriginal }): z.infer<typeof box> => {
    const { x0, y0, x1, y1 } = boxOriginal;
    return [x0, y0, x1, y1];
  });
  return {
    version: 1,
    recordId: episode.recordId,
    ...place,
    question: record.question,
    kind: record.kind,
    truth: record.answer,
    parts: toParts(episode.chunks, boxes, chat),
    view: episode.view,
    points: episode.points.map(({ turn, x, y, inImage }) => ({ turn, x, y, inImage })),
    zooms: episode.zooms.map(({ at, ...zoom }, i) => ({
      ...zoom,
      at: { x: at.x, y: at.y },
      boxOriginal: boxes[i],
    })),
    turns: [...episode.turns],
    answer: episode.answer,
    reward:
      reward === null
        ? null
        : { total: reward.total, accuracy: reward.accuracy, terms: { ...reward.terms } },
    stopReason: episode.stopReason,
    error: episode.error,
    seed: episode.seed,
    numTokens: episode.numTokens,
    seconds: episode.seconds,
  };
}

/** Appends traces to `traces.jsonl` of a folder and keeps their pictures. */
export class TraceWriter {
  readonly folder: string;
  private readonly kept = new Set<string>();

  constructor(folder: string) {
    this.folder = folder;
  }

  /** Throws VigorlError("io") when the disk does not take it. */
  async append(trace: Trace, episode: Pick<Trajectory, "chunks">): Promise<void> {
    for (const chunk of episode.chunks) if (chunk.type === "image") await this.keep(chunk.image);
    await appendJsonl(inside(this.folder, "traces.jsonl"), [trace]);
  }

  private async keep(image: ModelImage): Promise<void> {
    if (this.kept.has(image.hash)) return;
    this.kept.add(image.hash);
    await writePicture(this.folder, image);
  }
}

/** Reads a traces.jsonl; a line that a killed run left torn is dropped. */
export async function readTraces(file: string): Promise<Trace[]> {
  return readJsonlAll(file, traceSchema, { allowTornLastLine: true });
}

function toParts(
  chunks: readonly AuthoredChunk[],
  boxes: readonly z.infer<typeof box>[],
  chat: ChatFormat,
): Trace["parts"] {
  let numCrops = 0;
  return chunks.map((chunk) => {
    const { author: by, turn } = chunk;
    if (chunk.type === "text") {
      const text = chat.tokenizer.decode(chunk.tokens);
      const mark = chunk.inexact === undefined ? {} : { inexact: chunk.inexact };
      return { type: "text", author: by, turn, text, ...mark };
    }
    const { hash, widthPx, heightPx } = chunk.image;
    const image = { type: "image" as const, author: by, turn, hash, widthPx, heightPx };
    return by === "prompt"
      ? { ...image, frame: "resized" }
      : { ...image, frame: "crop", boxOriginal: boxes[numCrops++] };
  });
}
