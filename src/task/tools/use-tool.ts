/**
 * Carries out a tool call: finds the tool, checks the arguments, runs it, and numbers the picture that
 * came back. Whatever a model wrote ends in a use, which says by name what was wrong with it.
 */
import { stream } from "../../core/random.ts";
import type { ReadCall, ToolCall } from "../../text/dialects/dialect.ts";
import type { Dialect } from "../../text/dialects/dialect.ts";
import type { PromptSet, ToolFault } from "../../text/prompts.ts";
import { onRecord, type Picture } from "../pictures.ts";
import { argumentFault, centreOf, locate } from "./place-args.ts";
import type { ToolSessions } from "./sessions.ts";
import { refused, type Tool, type ToolOutcome, type ToolScene, type ToolUse } from "./tool.ts";

/** What tools need to know of how an episode is played. */
export type ToolSettings = Pick<ToolScene, "budget" | "preprocessor" | "coordinates"> & {
  readonly tools: readonly Tool[];
  readonly dialect: Dialect;
};

export interface Used {
  readonly use: ToolUse;
  readonly picture: Picture | null;
}

/**
 * Carries out the call of a turn. Draws are keyed by `seed` and `turn`.
 * @throws what a tool throws that works on something outside of the episode
 */
export async function useTool(
  read: ReadCall,
  config: ToolSettings,
  prompts: PromptSet,
  pictures: readonly Picture[],
  { seed, turn }: { readonly seed: number; readonly turn: number },
  { sessions, signal }: { readonly sessions?: ToolSessions; readonly signal?: AbortSignal } = {},
): Promise<Used> {
  const checked = checkCall(read, config);
  if (!checked.ok) {
    const { fault } = checked;
    return used(null, refused(fault, prompts, null), pictures, turn);
  }
  const { tool, args } = checked;
  const { budget, preprocessor } = config;
  const coordinates = config.dialect.coordinates ?? config.coordinates;
  const scene: ToolScene = {
    pictures,
    prompts,
    budget,
    preprocessor,
    coordinates,
    session: (await sessions?.of(tool, signal)) ?? null,
    signal,
    locate: (written, rules) => locate(written, pictures, coordinates, rules),
  };
  const random = stream(seed, tool.control ?? "tool", turn);
  return used(tool, await tool.run(args, scene, random), pictures, turn);
}

type CheckedCall =
  | { readonly ok: true; readonly tool: Tool; readonly args: unknown }
  | { readonly ok: false; readonly fault: ToolFault };

/** The tool that a call reaches, with its arguments, or why it reaches none. */
export function checkCall(
  read: ReadCall,
  { tools, dialect }: Pick<ToolSettings, "tools" | "dialect">,
): CheckedCall {
  if (!read.ok) return read;
  const tool = dialect.isNameless ? tools[0] : toolNamed(read.call, tools);
  if (tool === undefined) return { ok: false, fault: "unknownTool" };
  const args = argumentsOf(tool, read.call);
  return args.success
    ? { ok: true, tool, args: args.data }
    : { ok: false, fault: argumentFault(args.error) };
}

/** Checks arguments; where a text was wanted and digits were read, by what was written. */
function argumentsOf(tool: Tool, { args, texts = {} }: ToolCall) {
  const read = tool.args.safeParse(args);
  if (read.success) return read;
  const wanted = read.error.issues.flatMap((issue) => {
    const key = String(issue.path[0] ?? "");
    const isText = issue.code === "invalid_type" && issue.expected === "string";
    return isText && Object.hasOwn(texts, key) ? [[key, texts[key]] as const] : [];
  });
  if (wanted.length === 0) return read;
  return tool.args.safeParse({ ...args, ...Object.fromEntries(wanted) });
}

/** The tool that is told by this name, else the first that goes by it too. */
function toolNamed({ name }: ToolCall, tools: readonly Tool[]): Tool | undefined {
  if (name === null) return undefined;
  return (
    tools.find((tool) => tool.names[0] === name) ?? tools.find((tool) => tool.names.includes(name))
  );
}

function used(
  tool: Tool | null,
  { located, gives, text, fault, ends }: ToolOutcome,
  pictures: readonly Picture[],
  turn: number,
): Used {
  const id = pictures.length;
  const picture = gives === null || tool === null ? null : { ...gives, id, tool: tool.key, turn };
  const { asked = null, picture: looked = null } = located ?? {};
  const isKnown = fault === null && asked !== null && looked !== null && located?.place !== null;
  return {
    use: {
      tool: tool?.key ?? null,
      turn,
      reads: looked?.id ?? null,
      place: located?.place ?? null,
      at: isKnown ? onRecord(centreOf(asked), looked, pictures) : null,
      gives: picture?.id ?? null,
      text,
      fault,
      ends,
      control: tool?.control ?? null,
    },
    picture,
  };
}
