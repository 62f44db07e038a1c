/**
 * An episode as one line of JSON that can be read without this program: who wrote what, the pictures
 * by number and hash, points, tool uses, answer, reward by term and how it ended. Pictures lie beside
 * the file, `images/<hash>.png`, each once. `version` changes when a reader has to know.
 */
import { z } from "zod";
import { inside } from "../core/inside.ts";
import { appendJsonl, readJsonlAll } from "../core/jsonl.ts";
import type { ModelImage } from "../image/model-image.ts";
import { writePicture } from "../image/picture-file.ts";
import type { ChatFormat } from "../text/chat.ts";
import { ofVersion, pictureLineSchema, toolUseSchema, viewSchema } from "./lines.ts";
import type { TaskRecord } from "./record.ts";
import type { Reward } from "./reward.ts";
import type { AuthoredChunk, Trajectory } from "./trajectory.ts";
import { kindNames } from "./kinds.ts";

const author = z.enum(["prompt", "model", "environment", "forced"]);

const traceLine = z.strictObject({
  version: z.literal(2),
  recordId: z.string(),
  /** The task that it was asked in, where the recipe names one. */
  task: z.string().optional(),
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
        /** Its number among `pictures`. */
        picture: z.int().min(0),
        hash: z.string(),
      }),
    ]),
  ),
  view: viewSchema.nullable(),
  /** The record's images, then what tools returned; each says what it shows of the record. */
  pictures: z.array(pictureLineSchema),
  /** Points of the thoughts, in pixels of their picture as the model sees it. */
  points: z.array(
    z.strictObject({
      picture: z.int().min(0),
      turn: z.int(),
      x: z.number(),
      y: z.number(),
      inImage: z.boolean(),
    }),
  ),
  toolUses: z.array(toolUseSchema),
  /** Keys of the tools that were offered. */
  tools: z.array(z.string()),
  turns: z.array(
    z.strictObject({
      text: z.string(),
      numTokens: z.int(),
      forced: z.boolean(),
      wellFormed: z.boolean(),
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

export type Trace = z.infer<typeof traceLine>;

export const traceSchema = ofVersion(2, traceLine);

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
  return {
    version: 2,
    recordId: episode.recordId,
    ...(episode.task === "" ? {} : { task: episode.task }),
    ...place,
    question: record.question,
    kind: record.kind,
    truth: record.answer,
    parts: toParts(episode.chunks, chat),
    view: episode.view,
    pictures: [...episode.pictures],
    points: episode.points.map(({ picture, turn, x, y, inImage }) => ({
      picture,
      turn,
      x,
      y,
      inImage,
    })),
    toolUses: [...episode.toolUses],
    tools: [...episode.tools],
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

function toParts(chunks: readonly AuthoredChunk[], chat: ChatFormat): Trace["parts"] {
  return chunks.map((chunk) => {
    const { author: by, turn } = chunk;
    if (chunk.type === "text") {
      const text = chat.tokenizer.decode(chunk.tokens);
      const mark = chunk.inexact === undefined ? {} : { inexact: chunk.inexact };
      return { type: "text", author: by, turn, text, ...mark };
    }
    const { picture, image } = chunk;
    return { type: "image", author: by, turn, picture, hash: image.hash };
  });
}
