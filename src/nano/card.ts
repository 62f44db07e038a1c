/** What the nano model says it is for (`vigorl.json`): its world's words and pictures, and its settings. */
import { pictureFeatures, rangesOf, type PictureFeatures } from "../image/features.ts";
import type { ModelCard } from "../task/model-card.ts";
import {
  chaseQuestion,
  clickQuestion,
  compareQuestion,
  findQuestion,
  noToolSuffix,
  relationQuestion,
  searchQuestion,
} from "./language.ts";
import { drawCanvas } from "./canvas.ts";
import { sceneAt } from "./scene.ts";
import { canvasPx, colourNames, relations, shapeNames, viewPx, windowPx } from "./world.ts";

let card: ModelCard | undefined;

export function nanoCard(): ModelCard {
  return (card ??= makeCard());
}

function makeCard(): ModelCard {
  const questions = [
    searchQuestion("red star"),
    relationQuestion("red star", "blue heart"),
    clickQuestion("red star"),
    findQuestion(7),
    compareQuestion("red star", "blue heart"),
    chaseQuestion("red star"),
  ];
  const words = [...questions, noToolSuffix, ...colourNames, ...shapeNames, ...relations]
    .join(" ")
    .toLowerCase()
    .match(/\p{L}+/gu);
  return {
    version: 1,
    about:
      "A model of 1.4 million parameters for drawn scenes of coloured things: which digit is on one, where it lies, where to click, which one carries a digit, where their signs lead. It knows nothing else.",
    settings: {
      tools: { zoom: { windowPx, outputPx: viewPx } },
      episode: { maxTurns: 6, maxToolImages: 5, maxTokensPerTurn: 64, maxTotalTokens: 512 },
      prompts: { style: "nano" },
      promptsNoTool: { questionSuffix: noToolSuffix },
      eval: { temperature: 1 },
    },
    examples: questions,
    words: [...new Set(words)].sort(),
    pictures: {
      about: `drawn scenes of ${canvasPx} × ${canvasPx} pixels`,
      // Shapes and sizes as far as they change nothing.
      ranges: {
        ...rangesOf(Array.from({ length: NUM_SCENES }, (_, i) => featuresOf(i))),
        aspect: [0.9, 1.1],
        sidePx: [canvasPx / 2, canvasPx * 2],
      },
    },
  };
}

const NUM_SCENES = 48;

function featuresOf(index: number): PictureFeatures {
  return pictureFeatures(drawCanvas(sceneAt("train", 1, index)));
}
