/** A setting that is worked out where it is not given. */
import { z } from "zod";

export type Auto<T> = "auto" | T;

/** `auto`, which is the default, or a value of the schema. */
export function autoOr<S extends z.ZodType>(schema: S) {
  return z.union([z.literal("auto"), schema]).default("auto");
}

/** The value, or undefined where it is `auto`. */
export function given<T>(value: Auto<T>): T | undefined {
  return value === "auto" ? undefined : value;
}
