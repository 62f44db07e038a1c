/**
 * The tools there are, in the order in which they are offered. A new one is its file and a line here.
 */
import { z } from "zod";
import { sectionOrList } from "../../core/config-paths.ts";
import { ownModule } from "../../core/own-module.ts";
import { markTool } from "./mark.ts";
import { isOwnTool, type OwnTool } from "./own-tool.ts";
import type { Tool, ToolKind } from "./tool.ts";
import { zoomBoxTool } from "./zoom-box.ts";
import { zoomTool } from "./zoom.ts";

export const toolTable = {
  zoom: zoomTool,
  "zoom-box": zoomBoxTool,
  mark: markTool,
};

type Table = typeof toolTable;
type Shape = { [Key in keyof Table]: z.ZodOptional<Table[Key]["settings"]> };

/** The `tools` section of a recipe: the tools that are offered, with their settings. A list means modules. */
export const toolsSchema = sectionOrList(
  "modules",
  z.strictObject({
    ...(Object.fromEntries(
      Object.entries(toolTable).map(([key, { settings }]) => [key, settings.optional()]),
    ) as Shape),
    modules: z
      .array(ownModule<OwnTool>("a module whose default export is a tool", isOwnTool))
      .optional()
      .describe("tools of one's own; `tools: [./my-tool.ts]` is short for it"),
  }),
);
export type ToolsConfig = z.infer<typeof toolsSchema>;

/** What a recipe offers that says nothing: ViGoRL's own tool. */
export const usualTools: ToolsConfig = { zoom: zoomTool.settings.parse({}) };

/** The name by which a call at a point is written for these tools; the published one without them. */
export function pointCallName({ zoom = zoomTool.settings.parse({}) }: ToolsConfig): string {
  return zoom.name;
}

/** Sets up the tools of a recipe. */
export function makeTools(config: ToolsConfig): Tool[] {
  return Object.entries(toolTable).flatMap(([key, kind]) => {
    const settings = config[key as keyof Table];
    return settings === undefined ? [] : [(kind as ToolKind<z.ZodType>).make(settings, key)];
  });
}

/** The tool of a key, with its usual settings: for what was recorded of it. Undefined where unknown. */
export function toolOf(key: string): Tool | undefined {
  if (!Object.hasOwn(toolTable, key)) return undefined;
  const kind: ToolKind<z.ZodType> = toolTable[key as keyof Table];
  return kind.make(kind.settings.parse({}), key);
}
