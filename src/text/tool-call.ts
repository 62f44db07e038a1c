/**
 * The zoom tool's calls: a JSON object between `<tool_call>` tags. A place is a point
 * (`coordinate: [x, y]`) or, as Qwen's own zoom tool writes it, a box (`bbox_2d: [x0, y0, x1, y1]`),
 * both in the frame that the model speaks. Whatever a model writes is parsed to a call or to a named
 * reason; nothing here throws.
 */
import { z } from "zod";

export type ToolPlace =
  | { readonly kind: "point"; readonly x: number; readonly y: number }
  | {
      readonly kind: "box";
      readonly x0: number;
      readonly y0: number;
      readonly x1: number;
      readonly y1: number;
    };

export interface ToolCall {
  readonly name: string;
  readonly place: ToolPlace;
}

/** Why a call cannot be carried out, from the first thing wrong with it. */
export type ToolCallFault = "notJson" | "unknownTool" | "noPlace";

export type ToolCallResult =
  | { readonly ok: true; readonly call: ToolCall }
  | { readonly ok: false; readonly fault: ToolCallFault };

/** Names that call the zoom tool: the repository's, the paper's, and Qwen's. */
export const zoomToolNames: readonly string[] = ["search_coordinate", "crop", "image_zoom_in_tool"];

/**
 * Parses what stands between the tags. `names` are the tools there are; null accepts any name, as
 * the published code does. JSON in single quotes is read too: the paper prints it so.
 */
export function parseToolCall(
  body: string,
  names: readonly string[] | null = zoomToolNames,
): ToolCallResult {
  const json = parseJson(body);
  if (json === undefined) return { ok: false, fault: "notJson" };
  const named = namedCall.safeParse(json);
  if (!named.success || (names !== null && !names.includes(named.data.name)))
    return { ok: false, fault: "unknownTool" };
  const place = callArguments.safeParse(named.data.arguments);
  if (!place.success) return { ok: false, fault: "noPlace" };
  return { ok: true, call: { name: named.data.name, place: toPlace(place.data) } };
}

/** Writes a call's JSON on one line, spaced as Python's json does. */
export function formatToolCall({ name, place }: ToolCall): string {
  const values =
    place.kind === "point" ? [place.x, place.y] : [place.x0, place.y0, place.x1, place.y1];
  const key = place.kind === "point" ? "coordinate" : "bbox_2d";
  return `{"name": ${JSON.stringify(name)}, "arguments": {"${key}": [${values.join(", ")}]}}`;
}

const namedCall = z.object({ name: z.string(), arguments: z.unknown().optional() });
const callArguments = z.union([
  z.object({ coordinate: z.tuple([z.number(), z.number()]) }),
  z.object({ bbox_2d: z.tuple([z.number(), z.number(), z.number(), z.number()]) }),
]);

function toPlace(args: z.infer<typeof callArguments>): ToolPlace {
  if ("coordinate" in args) {
    const [x, y] = args.coordinate;
    return { kind: "point", x, y };
  }
  const [x0, y0, x1, y1] = args.bbox_2d;
  return { kind: "box", x0, y0, x1, y1 };
}

function parseJson(body: string): unknown {
  const candidates = body.includes('"') ? [body] : [body, body.replaceAll("'", '"')];
  for (const candidate of candidates) {
    try {
      const value: unknown = JSON.parse(candidate);
      return value;
    } catch {
      // The next reading, or none: a model may write anything.
    }
  }
  return undefined;
}
