/**
 * The dialect of Mini-o3: a box in fractions of the sides and the picture it lies in, as JSON between
 * `<grounding>` tags, and no name: `{"bbox_2d": [0.1, 0.2, 0.4, 0.5], "source": "original_image"}`.
 * Fractions become thousandths here, sources the numbers of pictures. Not verified: how its authors wrote
 * what comes back; it stands between our tags.
 */
import { defaultTags } from "../tags.ts";
import type { Dialect, ReadCall, ToolCall } from "./dialect.ts";
import { formatSpacedJson, parseLooseJson } from "./loose-json.ts";
import { vigorl } from "./vigorl.ts";

export const miniO3: Dialect = {
  ...vigorl,
  name: "mini-o3",
  tags: { ...defaultTags, toolCall: { open: "<grounding>", close: "</grounding>" } },
  coordinates: "relative",
  isNameless: true,
  read,
  write,
};

function read(body: string): ReadCall {
  const json = parseLooseJson(body.trim());
  if (json === undefined) return { ok: false, fault: "notJson" };
  if (typeof json !== "object" || json === null || Array.isArray(json))
    return { ok: false, fault: "badArguments" };
  const { source, ...args } = json as Record<string, unknown>;
  for (const [key, value] of Object.entries(args)) args[key] = scaled(value, 1000);
  if (source !== undefined) {
    const picture = pictureOf(source);
    if (picture === null || Object.hasOwn(args, "img_idx"))
      return { ok: false, fault: "badArguments" };
    args.img_idx = picture;
  }
  return { ok: true, call: { name: null, args } };
}

function write({ args }: ToolCall): string {
  const { img_idx: picture, ...given } = args;
  const rest: Record<string, unknown> = { ...given };
  for (const [key, value] of Object.entries(rest)) rest[key] = scaled(value, 0.001);
  const source =
    typeof picture === "number" && picture > 0 ? `observation_${picture}` : "original_image";
  return formatSpacedJson({ ...rest, ...(picture === undefined ? {} : { source }) });
}

/** The numbers of a place times a factor, to a millionth; anything else as it is, for the tool to refuse. */
function scaled(value: unknown, factor: number): unknown {
  if (!Array.isArray(value)) return value;
  return value.map((one: unknown) =>
    typeof one === "number" ? Math.round(one * factor * 1e6) / 1e6 : one,
  );
}

/** The picture's number: the question's own is 0, the N-th that came back is N. Null for anything else. */
function pictureOf(source: unknown): number | null {
  if (source === "original_image") return 0;
  const match = typeof source === "string" ? /^observation_([1-9]\d{0,3})$/.exec(source) : null;
  return match === null ? null : Number(match[1]);
}
