/**
 * Paths in a YAML file are relative to the file. Keys that are paths say so in their schema
 * (`pathText`); what stands under them is found beside the file, then, as in flags, from the current
 * folder, then among what comes with vigorl. A path that leads nowhere is the one beside the file.
 */
import { existsSync } from "node:fs";
import { isAbsolute, join } from "node:path";
import { z } from "zod";
import { isHubName } from "./hub.ts";
import { findPath } from "./paths.ts";

/** Schema of a path; `about` describes it. */
export function pathText(about: string): z.ZodString {
  return z.string().min(1).describe(about).meta({ isPath: true });
}

/** Schema of the path of a model's folder, or of a run's, or the name of a model on the hub. */
export function modelText(about: string): z.ZodString {
  return pathText(about).meta({ isPath: true, mayBeHub: true });
}

/** A section that may be written as a list, which is then its key `key`. */
export function sectionOrList<S extends z.ZodType>(key: string, section: S) {
  return z
    .preprocess((input) => (Array.isArray(input) ? { [key]: input as unknown } : input), section)
    .meta({ listIs: key });
}

/** A value as written in a file of `folder`, its paths relative to the current folder, or as `place` says. */
export function withPathsOf(
  folder: string,
  value: unknown,
  schema: z.core.$ZodType,
  place: (folder: string, path: string) => string = pathFrom,
): unknown {
  if (metaOf(schema, "isPath") === true) {
    if (typeof value !== "string") return value;
    const isName = metaOf(schema, "mayBeHub") === true && isHubName(value);
    return isName && !existsSync(join(folder, value)) ? value : place(folder, value);
  }
  const inner = unwrap(schema);
  const listIs = metaOf(schema, "listIs");
  if (Array.isArray(value) && typeof listIs === "string" && inner instanceof z.ZodObject)
    return withPathsOf(
      folder,
      value,
      (inner.shape as Readonly<Record<string, z.core.$ZodType>>)[listIs],
      place,
    );
  if (inner instanceof z.ZodUnion) {
    const option = inner.options.find((one) => fits(one, value));
    return option === undefined ? value : withPathsOf(folder, value, option, place);
  }
  if (Array.isArray(value))
    return inner instanceof z.ZodArray
      ? value.map((one) => withPathsOf(folder, one, inner.element, place))
      : value;
  if (typeof value !== "object" || value === null || !(inner instanceof z.ZodObject)) return value;
  const shape = inner.shape as Readonly<Record<string, z.core.$ZodType>>;
  const entries = Object.entries(value).map(([key, entry]) => [
    key,
    Object.hasOwn(shape, key) ? withPathsOf(folder, entry, shape[key], place) : (entry as unknown),
  ]);
  return Object.fromEntries(entries) as object;
}

/** Where a path in a file of `folder` leads. */
export function pathFrom(folder: string, path: string): string {
  if (isAbsolute(path)) return path;
  const beside = join(folder, path);
  return existsSync(beside) || !existsSync(findPath(path)) ? beside : path;
}

/** Whether what was written is meant to be this one of several forms. */
function fits(schema: z.core.$ZodType, value: unknown): boolean {
  const inner = unwrap(schema);
  if (inner instanceof z.ZodArray) return Array.isArray(value);
  if (!(inner instanceof z.ZodObject)) return typeof value !== "object";
  if (typeof value !== "object" || value === null || Array.isArray(value)) return false;
  return Object.entries(inner.shape as Readonly<Record<string, z.core.$ZodType>>).every(
    ([key, entry]) =>
      !(entry instanceof z.ZodLiteral) ||
      entry.values.has((value as Readonly<Record<string, never>>)[key]) ||
      !Object.hasOwn(value, key),
  );
}

/** What a schema, or one that it wraps, says about itself. */
function metaOf(schema: z.core.$ZodType, key: string): unknown {
  for (let node: z.core.$ZodType | undefined = schema; node !== undefined; node = innerOf(node)) {
    const value = z.globalRegistry.get(node)?.[key];
    if (value !== undefined) return value;
  }
  return undefined;
}

function unwrap(schema: z.core.$ZodType): z.core.$ZodType {
  const inner = innerOf(schema);
  return inner === undefined ? schema : unwrap(inner);
}

function innerOf(schema: z.core.$ZodType): z.core.$ZodType | undefined {
  if (
    schema instanceof z.ZodDefault ||
    schema instanceof z.ZodPrefault ||
    schema instanceof z.ZodOptional ||
    schema instanceof z.ZodNullable ||
    schema instanceof z.ZodReadonly
  )
    return schema.def.innerType;
  if (schema instanceof z.ZodPipe)
    return schema.def.in instanceof z.ZodTransform ? schema.def.out : schema.def.in;
  return undefined;
}
