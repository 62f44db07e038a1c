/** A tool of the user's own: what it is called, what it takes and what it does; the rest is ours. */
import { z } from "zod";
import { VigorlError } from "../../core/errors.ts";
import { loadOwn } from "../../core/own-module.ts";
import type { Rng } from "../../core/random.ts";
import type { RgbImage } from "../../image/decode.ts";
import { box, type Coordinates, type Size } from "../../image/frames.ts";
import { toModelImage } from "../../image/model-image.ts";
import type { PictureId } from "../pictures.ts";
import type { GivenPicture, Tool, ToolOutcome, ToolScene } from "./tool.ts";

/** A picture of the episode: the question's first, then what tools returned. */
export interface OwnPicture {
  readonly id: PictureId;
  /** At its own resolution. */
  readonly pixels: () => RgbImage;
  /** As the model sees it: the frame of what it writes where `coordinates` is "resized". */
  readonly seen: Size;
}

export interface OwnScene {
  readonly pictures: readonly OwnPicture[];
  /** How the model writes coordinates: pixels of the image as it sees it, or thousandths of its sides. */
  readonly coordinates: Coordinates;
  /** Reproducible random numbers. */
  readonly random: Rng;
}

/** What a tool returns: words, a picture or both; `ends` closes the episode. */
export type OwnResult =
  | { readonly text?: string; readonly picture?: RgbImage; readonly ends?: boolean }
  /** Why nothing was done, told to the model. */
  | { readonly refused: string };

/** The default export of a module in `tools`. */
export interface OwnTool<Args = Readonly<Record<string, unknown>>> {
  /** Under which the model calls it, and metrics and traces name it. */
  readonly name: string;
  /** A sentence for the system prompt: what the model can do with it. */
  readonly ability: string;
  /** Checks arguments; its JSON schema is what chat templates tell. */
  readonly args: z.ZodType<Args>;
  /** Arguments for the system prompt's example. */
  readonly example: Args;
  /** @throws where it is broken, which stops the run; what a model may do wrong is `refused` */
  readonly run: (args: Args, scene: OwnScene) => OwnResult | Promise<OwnResult>;
}

/** Whether a value is meant to be a tool: it runs. */
export function isOwnTool(value: unknown): boolean {
  return (
    typeof value === "object" && typeof (value as { run?: unknown } | null)?.run === "function"
  );
}

const shape = z.looseObject({
  name: z.string().regex(/^[\w-]{1,64}$/, "a name of letters, digits and dashes"),
  ability: z.string().min(1),
  args: z.custom<z.ZodType>((value) => typeof (value as z.ZodType)?.safeParse === "function", {
    message: "a schema of zod",
  }),
  example: z.record(z.string(), z.unknown()),
  run: z.custom<OwnTool["run"]>((value) => typeof value === "function", { message: "a function" }),
});

/** Loads the tools that a recipe names. @throws VigorlError("input") naming the module and what it lacks */
export async function openTools(modules: readonly (string | OwnTool)[]): Promise<Tool[]> {
  return Promise.all(
    modules.map(async (code) => {
      const found: unknown = await loadOwn("tools", code);
      const name = typeof code === "string" ? code : "the tool";
      const checked = shape.safeParse(found);
      if (checked.success) return makeOwnTool(found as OwnTool);
      const [issue] = checked.error.issues;
      throw new VigorlError(
        "input",
        `tools: ${name}: ${issue.path.join(".") || "its default export"}: ${issue.message}`,
        { hint: "a tool has name, ability, args, example and run; see docs/own-tool.md" },
      );
    }),
  );
}

/** A user's tool as episodes play it. */
export function makeOwnTool({ name, ability, args, example, run }: OwnTool): Tool {
  return {
    key: name,
    names: [name],
    args,
    settings: {},
    givesPicture: false,
    dialect: null,
    control: null,
    describe: () => ({
      ability,
      use: `To use ${name}, the action is {open} with JSON inside.`,
      care: [],
      action: `uses ${name}`,
      example: { name, args: example },
    }),
    async run(given, scene, random) {
      const pictures = scene.pictures.map(({ id, pixels, seen }) => ({
        id,
        pixels,
        seen: { widthPx: seen.widthPx, heightPx: seen.heightPx },
      }));
      const own = { pictures, coordinates: scene.coordinates, random };
      let result: OwnResult;
      try {
        result = await run(given as Readonly<Record<string, unknown>>, own);
      } catch (cause) {
        const text = cause instanceof Error ? cause.message : String(cause);
        throw new VigorlError("input", `the tool ${name} failed: ${text}`, { cause });
      }
      return outcomeOf(name, result, scene);
    },
    draw: () => undefined,
  };
}

function outcomeOf(name: string, result: OwnResult, scene: ToolScene): ToolOutcome {
  const nothing = { located: null, gives: null, ends: false };
  if ("refused" in result) return { ...nothing, text: result.refused, fault: "badArguments" };
  const { text = "", picture, ends = false } = result;
  if (text === "" && picture === undefined && !ends)
    throw new VigorlError("input", `the tool ${name} returned neither text nor a picture`, {
      hint: 'return { text }, { picture }, or { refused: "why" }',
    });
  const gives = picture === undefined ? null : given(picture, scene);
  return { located: null, gives, text, fault: null, ends };
}

/** A picture of the tool's own making shows the whole of the question's first image, as far as anybody can say. */
function given(picture: RgbImage, { pictures, budget, preprocessor }: ToolScene): GivenPicture {
  const { box: whole } = pictures[0];
  return {
    seen: toModelImage(picture, budget, preprocessor),
    pixels: () => picture,
    of: 0,
    box: box("original", whole.x0, whole.y0, whole.x1, whole.y1),
  };
}
