/**
 * What a tool is: published names, arguments, words for the system prompt, what it does, and how that
 * is drawn. A tool is one file beside this one and one line in `table.ts`; episodes, search, traces and
 * reports know nothing else of it.
 */
import type { z } from "zod";
import type { Rng } from "../../core/random.ts";
import type { RgbImage } from "../../image/decode.ts";
import type { Canvas } from "../../image/draw.ts";
import type { Box, Coordinates, Point } from "../../image/frames.ts";
import type { ModelImage, PixelBudget } from "../../image/model-image.ts";
import type { PreprocessorConfig } from "../../image/preprocessor-config.ts";
import type { ToolCall } from "../../text/dialects/dialect.ts";
import type { DialectName } from "../../text/dialects/table.ts";
import type { PromptSet, ToolFault, ToolWords } from "../../text/prompts.ts";
import type { Picture, PictureId, RecordPlace } from "../pictures.ts";
import type { PlaceArgs } from "./place-args.ts";

/** A point, a box or a line as a model writes it, in the coordinates that it speaks. */
export type ToolPlace =
  | { readonly kind: "point"; readonly x: number; readonly y: number }
  | {
      readonly kind: "box" | "line";
      readonly x0: number;
      readonly y0: number;
      readonly x1: number;
      readonly y1: number;
    };

/** A place in a picture as the model sees it. */
export type Target = Point<"resized"> | Box<"resized">;

/** A tool call that was carried out, or the reason why it was not. */
export interface ToolUse {
  /** The tool's key in the table; null where the call reached none. */
  readonly tool: string | null;
  readonly turn: number;
  /** The picture that it looked at, and where, as the model wrote it; null where there is neither. */
  readonly reads: PictureId | null;
  readonly place: ToolPlace | null;
  /** That place (of a box its centre, of a line its start) on the record. Null where it failed. */
  readonly at: RecordPlace | null;
  /** The picture that came back. Under a control it is not what was asked for. */
  readonly gives: PictureId | null;
  /** What came back in words; empty where only a picture did. */
  readonly text: string;
  readonly fault: ToolFault | null;
  /** The episode is over. */
  readonly ends: boolean;
  /** What was changed about the tool, for a control experiment. */
  readonly control: string | null;
}

/** What a tool works on. */
export interface ToolScene {
  readonly pictures: readonly Picture[];
  readonly prompts: PromptSet;
  readonly budget: PixelBudget;
  readonly preprocessor: PreprocessorConfig;
  readonly coordinates: Coordinates;
  /** The tool's own, of tools that open one; null of others. */
  readonly session: ToolSession | null;
  /** Ends what takes long. */
  readonly signal?: AbortSignal | undefined;
  /** Finds the place that a call names. Controls change what is found. */
  locate(args: PlaceArgs, rules: LocateRules): Located;
}

export interface LocateRules {
  /** How far around a point the tool shows, in pixels of the picture as the model sees it. */
  readonly reachPx: number;
  /** Take points outside the picture too, and numbers that are none, as the published code does. */
  readonly anywhere?: boolean;
}

/** A place that a call names. */
export interface Located {
  readonly picture: Picture | null;
  /** As written; null where a number in it is not finite. */
  readonly place: ToolPlace | null;
  /** Where the model pointed, and where to look: the same but under a control. */
  readonly asked: Target | null;
  readonly target: Target | null;
  readonly fault: ToolFault | null;
}

/** A picture that a tool returns, before it has its number. */
export interface GivenPicture {
  readonly seen: ModelImage;
  readonly pixels: () => RgbImage;
  readonly of: PictureId;
  readonly box: Box<"original">;
}

/** What a tool did. */
export interface ToolOutcome {
  readonly located: Located | null;
  readonly gives: GivenPicture | null;
  readonly text: string;
  readonly fault: ToolFault | null;
  readonly ends: boolean;
}

/** What a tool keeps between the calls of an episode; its own class, which knows the rest. */
export interface ToolSession {
  /** Called once, when the episode is over, also where it was aborted. */
  close(): Promise<void>;
}

export interface Tool<Args = unknown> {
  /** Key in the table. */
  readonly key: string;
  /** Published spellings. The first is told to the model. */
  readonly names: readonly string[];
  /** Checks arguments; its JSON schema is what chat templates tell. */
  readonly args: z.ZodType<Args>;
  /** What a recipe says about it. */
  readonly settings: Readonly<Record<string, unknown>>;
  /** Every use that succeeds returns a picture. */
  readonly givesPicture: boolean;
  /** How its calls have to be read; null: as the model's folder says. */
  readonly dialect: DialectName | null;
  /** The control that was applied, or null. */
  readonly control: string | null;
  describe(coordinates: Coordinates): ToolWords;
  /**
   * Opens what the calls of one episode share, before the first of them. What it opens cannot go back:
   * trees, whose branches share a beginning, are not grown with such a tool.
   */
  open?(signal: AbortSignal | undefined): Promise<ToolSession>;
  /** A call that looks at a point, as the model would write it; absent where the tool looks at none. */
  lookAt?(x: number, y: number): ToolCall;
  run(args: Args, scene: ToolScene, random: Rng): Promise<ToolOutcome>;
  /** Draws a use on the record's image that it looked at. */
  draw(use: DrawnUse, canvas: Canvas): void;
}

/** A use that succeeded, in original pixels of the record's image. */
export interface DrawnUse {
  /** Where the model pointed. */
  readonly place: ToolPlace | null;
  /** The part of the image that the returned picture shows. */
  readonly shown: Box<"original"> | null;
}

/** What a table lists: how a recipe sets a tool up. */
export interface ToolKind<Settings extends z.ZodType> {
  readonly settings: Settings;
  make(settings: z.output<Settings>, key: string): Tool;
}

/** The outcome of a call that could not be carried out. */
export function refused(
  fault: ToolFault,
  prompts: PromptSet,
  located: Located | null,
): ToolOutcome {
  return { located, gives: null, text: prompts.faults[fault], fault, ends: false };
}
