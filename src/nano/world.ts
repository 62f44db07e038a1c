/**
 * The measures and the words of the nano world. A scene is a canvas of 448 px; the model sees it at
 * 112 px (4 times smaller) and zooms into windows of 8 of those pixels (32 of the canvas), shown at
 * 112 px. A digit is 11 canvas pixels: 2.75 in the view, 38 in the crop. Its strokes carry a halo that
 * takes their mean away, so it vanishes when the canvas is shrunk; `readability.test.ts` holds this.
 */
import type { PixelBudget } from "../image/model-image.ts";
import type { PreprocessorConfig } from "../image/preprocessor-config.ts";
import { homeFamily } from "../model/families/table.ts";

export type Split = "train" | "heldout";

/** Side of the canvas, the original image. */
export const canvasPx = 448;
/** Side of the image that the model sees, whole scene or crop. */
export const viewPx = 112;
/** Canvas pixels per view pixel. */
export const viewScale = canvasPx / viewPx;
/** Side of the zoom window, in view pixels. */
export const windowPx = 8;
/** Crop pixels per canvas pixel. */
export const cropScale = viewPx / (windowPx * viewScale);
/** Side of the square that one visual token covers. */
export const tokenPx = 28;
/** Visual tokens a side. */
export const gridSide = viewPx / tokenPx;

/** Brings a canvas to the view. */
export const nanoPixelBudget: PixelBudget = {
  minPixels: viewPx * viewPx,
  maxPixels: viewPx * viewPx,
};

/** The family's, with patches that make the tokens above. */
export const nanoPreprocessor: PreprocessorConfig = {
  ...homeFamily.preprocessor,
  ...nanoPixelBudget,
};

export const colours = {
  red: [214, 40, 40],
  orange: [245, 130, 20],
  yellow: [245, 215, 45],
  green: [50, 165, 60],
  blue: [40, 90, 220],
  purple: [130, 45, 170],
  pink: [250, 135, 190],
  white: [240, 240, 240],
} as const;
export type Colour = keyof typeof colours;
export const colourNames = Object.keys(colours) as Colour[];

export const shapeNames = [
  "star",
  "heart",
  "moon",
  "cloud",
  "bell",
  "drop",
  "house",
  "bolt",
  "plane",
  "flag",
] as const;
export type Shape = (typeof shapeNames)[number];

export const relations = ["left", "right", "above", "below"] as const;
export type Relation = (typeof relations)[number];
