/**
 * Arguments that name a picture and a place in it, the same for all tools: `coordinate: [x, y]` or
 * `bbox_2d: [x0, y0, x1, y1]`, and `img_idx` with its other spellings: the picture's number, from 0,
 * the record's images first, then what tools returned. Without one the first picture is meant. Other
 * arguments may be there (a label, a reason) as long as they name neither a picture nor a place: what
 * would have to be honoured and is not read is a fault.
 */
import { z } from "zod";
import {
  box,
  contains,
  point,
  relativeToResized,
  type Box,
  type Coordinates,
  type Point,
  type Size,
} from "../../image/frames.ts";
import type { ToolFault } from "../../text/prompts.ts";
import type { Picture } from "../pictures.ts";
import type { LocateRules, Located, Target, ToolPlace } from "./tool.ts";

/** A place in the arguments of a call, under the keys of `placeShape`. */
export interface PlaceArgs {
  readonly coordinate?: readonly [number, number] | undefined;
  readonly bbox_2d?: readonly [number, number, number, number] | undefined;
  readonly img_idx?: number | undefined;
}

export const coordinateArg = z
  .tuple([z.number(), z.number()])
  .describe("the point [x, y], in the coordinates of the image");
export const boxArg = z
  .tuple([z.number(), z.number(), z.number(), z.number()])
  .describe("the box [x0, y0, x1, y1], top left and bottom right corner");
export const pictureArg = z
  .int()
  .min(0)
  .describe("number of the image, from 0: those of the question, then those that tools returned");

/** The arguments of a tool: those of `shape`, and others that name neither a picture nor a place. */
export function toolArgs<Shape extends z.ZodRawShape>(shape: Shape) {
  const args = z.looseObject(shape).superRefine((value, context) => {
    for (const key of Object.keys(value)) {
      if (key in shape || !(isPictureKey(key) || isPlaceKey(key))) continue;
      context.addIssue({
        code: "custom",
        path: [key],
        message: "is not read",
        params: { fault: "badArguments" },
      });
    }
    const places = ["coordinate", "bbox_2d"].filter((key) => key in shape);
    const given = places.filter((key) => value[key] !== undefined);
    if (places.length > 0 && given.length !== 1) {
      const fault = given.length === 0 ? "noPlace" : "badArguments";
      context.addIssue({ code: "custom", path: places, message: "one place", params: { fault } });
    }
  });
  return z.preprocess(canonical, args);
}

/** Why arguments are refused, by the first thing that is wrong with them. */
export function argumentFault({ issues }: z.ZodError): ToolFault {
  const [issue] = issues;
  const own = issue?.code === "custom" ? (issue.params?.fault as ToolFault | undefined) : undefined;
  if (own !== undefined) return own;
  const key = String(issue?.path[0] ?? "");
  if (isPictureKey(key)) return "noPicture";
  return isPlaceKey(key) ? "noPlace" : "badArguments";
}

/** Finds the place that arguments name, among the pictures of an episode. */
export function locate(
  args: PlaceArgs,
  pictures: readonly Picture[],
  coordinates: Coordinates,
  { anywhere = false }: LocateRules,
): Located {
  const nothing = { picture: null, place: null, asked: null, target: null };
  const picture = pictures[args.img_idx ?? 0];
  if (picture === undefined) return { ...nothing, fault: "noPicture" };
  const written = placeOf(args);
  if (written === null) return { ...nothing, picture, fault: "noPlace" };
  const target = toResized(written, picture.seen, coordinates);
  const place = isFinitePlace(written) ? written : null;
  const fault = faultOfTarget(target, picture.seen, anywhere);
  return { picture, place, asked: target, target, fault };
}

/** The place a point in the model's text names, in a picture as the model sees it. */
export function pointToResized(
  at: { readonly x: number; readonly y: number },
  view: { readonly resized: Size; readonly coordinates: Coordinates },
): Point<"resized"> {
  return view.coordinates === "relative"
    ? relativeToResized(point("relative", at.x, at.y), view.resized)
    : point("resized", at.x, at.y);
}

/** Of a box its centre. */
export function centreOf(target: Target): Point<"resized"> {
  if (!("x0" in target)) return target;
  return point("resized", (target.x0 + target.x1) / 2, (target.y0 + target.y1) / 2);
}

/** The part of a box that lies in an image of this size. */
export function clip(area: Box<"resized">, size: Size): Box<"resized"> {
  return box(
    "resized",
    Math.max(0, area.x0),
    Math.max(0, area.y0),
    Math.min(size.widthPx, area.x1),
    Math.min(size.heightPx, area.y1),
  );
}

/** The middle of a place as the model wrote it, in whole numbers for a box. */
export function writtenPoint(place: ToolPlace): { readonly x: number; readonly y: number } {
  if (place.kind === "point") return place;
  return { x: Math.round((place.x0 + place.x1) / 2), y: Math.round((place.y0 + place.y1) / 2) };
}

function placeOf({ coordinate, bbox_2d }: PlaceArgs): ToolPlace | null {
  if (coordinate !== undefined) return { kind: "point", x: coordinate[0], y: coordinate[1] };
  if (bbox_2d === undefined) return null;
  const [x0, y0, x1, y1] = bbox_2d;
  return { kind: "box", x0, y0, x1, y1 };
}

function isFinitePlace(place: ToolPlace): boolean {
  return Object.values(place).every((value) => typeof value === "string" || Number.isFinite(value));
}

function toResized(place: ToolPlace, resized: Size, coordinates: Coordinates): Target {
  if (place.kind === "point") return pointToResized(place, { resized, coordinates });
  const a = pointToResized({ x: place.x0, y: place.y0 }, { resized, coordinates });
  const b = pointToResized({ x: place.x1, y: place.y1 }, { resized, coordinates });
  return box("resized", a.x, a.y, b.x, b.y);
}

function faultOfTarget(target: Target, size: Size, anywhere: boolean): ToolFault | null {
  if (!("x0" in target)) return anywhere || contains(size, target) ? null : "outside";
  if (target.x1 <= target.x0 || target.y1 <= target.y0) return "noArea";
  const { x0, y0, x1, y1 } = clip(target, size);
  if (x1 <= x0 || y1 <= y0) return "outside";
  return x1 - x0 < 1 || y1 - y0 < 1 ? "noArea" : null;
}

/** Spellings of `img_idx` in published tools. All of them count from 0 here. */
const PICTURE_SPELLINGS = ["img_idx", "image_index", "image_idx", "target_image", "image"];

/** One spelling for the picture's number, and no nulls, which say nothing. */
function canonical(input: unknown): unknown {
  if (typeof input !== "object" || input === null || Array.isArray(input)) return input;
  const entries = Object.entries(input).filter(([, value]) => value !== null);
  const named = entries.filter(([key]) => PICTURE_SPELLINGS.includes(key));
  const isOne = named.every(([, value]) => value === named[0][1]);
  if (named.length === 0 || !isOne) return Object.fromEntries(entries);
  const others = entries.filter(([key]) => !PICTURE_SPELLINGS.includes(key));
  return Object.fromEntries([...others, ["img_idx", named[0][1]]]);
}

const PICTURE_WORDS = /^(?:img|imgs|image|images|picture|pictures|photo|frame|page|source|target)$/;
const PLACE_WORDS =
  /^(?:coord|coords|coordinate|coordinates|point|points|position|location|place|bbox|bboxes|box|boxes|region|area|crop|rect|rectangle|polygon|center|centre|corner|left|right|top|bottom|width|height|x|y|w|h|[xy]\d|xyxy|xywh)$/;

function isPictureKey(key: string): boolean {
  return wordsOf(key).some((word) => PICTURE_WORDS.test(word));
}

function isPlaceKey(key: string): boolean {
  return wordsOf(key).some((word) => PLACE_WORDS.test(word));
}

function wordsOf(key: string): string[] {
  return key
    .replaceAll(/([a-z])([A-Z])/g, "$1_$2")
    .toLowerCase()
    .split(/[^a-z\d]+/);
}
