/**
 * Pictures, tool uses and places as traces and trees write them down: one form for both files.
 */
import { z } from "zod";
import type { PictureLine, RecordPlace } from "./pictures.ts";
import type { ToolPlace, ToolUse } from "./tools/tool.ts";
import type { AnswerView } from "./trajectory.ts";

const pictureId = z.int().min(0);

export const recordPlaceSchema: z.ZodType<RecordPlace> = z.strictObject({
  /** Of the record's images, from 0. */
  picture: pictureId,
  /** In pixels of that image as the model sees it. */
  x: z.number(),
  y: z.number(),
});

const size = z.strictObject({ widthPx: z.int(), heightPx: z.int() });

export const viewSchema: z.ZodType<AnswerView> = z.strictObject({
  original: size,
  resized: size,
  unrounded: size.optional(),
  coordinates: z.enum(["resized", "relative"]),
});

export const pictureLineSchema: z.ZodType<PictureLine> = z.strictObject({
  id: pictureId,
  tool: z.string().nullable(),
  turn: z.int().nullable(),
  imageHash: z.string(),
  widthPx: z.int(),
  heightPx: z.int(),
  of: pictureId,
  box: z.tuple([z.number(), z.number(), z.number(), z.number()]),
});

const toolPlace: z.ZodType<ToolPlace> = z.discriminatedUnion("kind", [
  z.strictObject({ kind: z.literal("point"), x: z.number(), y: z.number() }),
  z.strictObject({
    kind: z.enum(["box", "line"]),
    x0: z.number(),
    y0: z.number(),
    x1: z.number(),
    y1: z.number(),
  }),
]);

/** Faults are texts here, so that files of other versions' tools can be read. */
export const toolUseSchema = z.strictObject({
  tool: z.string().nullable(),
  turn: z.int(),
  reads: pictureId.nullable(),
  place: toolPlace.nullable(),
  at: recordPlaceSchema.nullable(),
  gives: pictureId.nullable(),
  text: z.string(),
  fault: z.string().nullable(),
  ends: z.boolean(),
  control: z.string().nullable(),
} satisfies Record<keyof ToolUse, z.ZodType>);
export type ToolUseLine = z.infer<typeof toolUseSchema>;

/**
 * Lines of a file that carry a version: a line of another one is refused before anything else is
 * looked at, and says so.
 */
export function ofVersion<T extends { version: number }>(
  version: T["version"],
  schema: z.ZodType<T>,
): z.ZodType<T> {
  const isOurs = z.looseObject({ version: z.unknown() }).superRefine((line, context) => {
    if (line.version === version) return;
    context.addIssue({
      code: "custom",
      path: ["version"],
      message: `the line is of version ${JSON.stringify(line.version)}, and this vigorl reads version ${version}; write the file again`,
    });
  });
  return isOurs.pipe(schema as z.ZodType<T, z.output<typeof isOurs>>);
}
