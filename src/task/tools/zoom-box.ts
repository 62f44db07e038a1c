/**
 * The box zoom of Qwen3-VL and DeepEyes, `image_zoom_in_tool {bbox_2d, label, img_idx}`: a box of any
 * picture of the conversation, enlarged until its longer side is `outputPx` long.
 * differs: the published tools keep a box at its own size where that is large enough, and widen small
 * ones; here every crop of a recipe costs about the same.
 */
import { z } from "zod";
import { cropFormat, cutSeenBox } from "./cut-box.ts";
import { boxArg, pictureArg, toolArgs, type PlaceArgs } from "./place-args.ts";
import { refused, type Tool, type ToolKind, type ToolOutcome, type ToolScene } from "./tool.ts";
import { enlarged, observation } from "./zoom.ts";

const settings = z.strictObject({
  outputPx: z
    .int()
    .positive()
    .default(672)
    .describe("longer side of the crop that the model is shown, in pixels"),
});

const args = toolArgs({
  bbox_2d: boxArg,
  label: z.string().optional().describe("what is in the box"),
  img_idx: pictureArg.optional(),
});

export const zoomBoxTool: ToolKind<typeof settings> = {
  settings,
  make: (chosen, key): Tool<PlaceArgs> => ({
    key,
    names: ["image_zoom_in_tool"],
    args,
    settings: chosen,
    givesPicture: true,
    dialect: null,
    control: null,
    describe: (coordinates) => ({
      ability: "You can enlarge any part of an image, to see details that are too small.",
      use: "To enlarge a part, the action is {open} with JSON inside: its box, what is in it, and the number of the image, from 0. You get the enlarged part in the next message, as the next image.",
      care: ["Do not enlarge the same part twice."],
      action: "enlarges",
      example: {
        name: "image_zoom_in_tool",
        args: {
          bbox_2d: coordinates === "relative" ? [420, 310, 560, 480] : [240, 120, 400, 280],
          label: "the sign",
          img_idx: 0,
        },
      },
    }),
    run: (given, scene) => Promise.resolve(run(given, scene, chosen.outputPx)),
    draw: ({ shown }, canvas) => {
      if (shown !== null) canvas.box(shown);
    },
  }),
};

function run(given: PlaceArgs, scene: ToolScene, outputPx: number): ToolOutcome {
  const { prompts } = scene;
  const located = scene.locate(given, { reachPx: 0 });
  const { picture, target, fault } = located;
  if (picture === null || target === null || !("x0" in target) || fault !== null)
    return refused(fault ?? "noPlace", prompts, located);
  const format = cropFormat(scene);
  const crop = cutSeenBox(picture.pixels(), target, picture.seen, outputPx, format);
  return {
    located,
    gives: enlarged(crop, picture, scene),
    text: observation(located, prompts, false),
    fault: null,
    ends: false,
  };
}
