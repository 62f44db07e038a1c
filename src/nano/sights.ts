/**
 * A sight is all that one scene gives to a conversation: its view, what stands where, and one crop of
 * one of its things, cut as imprecisely as a model points.
 */
import { stream, type Rng } from "../core/random.ts";
import type { ModelImage } from "../image/model-image.ts";
import { drawView } from "./canvas.ts";
import { nameOf, sampleCount, sampleKinds, sampleScene, viewPlace, type Kind } from "./scene.ts";
import { asModelImage, cropAt, nearPlace, pointingSigmaPx } from "./tower-images.ts";
import { colourNames, type Split } from "./world.ts";

export interface Sight {
  readonly view: ModelImage;
  readonly crop: ModelImage;
  readonly things: readonly Thing[];
  /** Index of the thing that the crop shows. */
  readonly looked: number;
}

export interface Thing {
  /** "red star" */
  readonly name: string;
  /** View pixels, whole. */
  readonly x: number;
  readonly y: number;
  readonly digit: number;
}

/**
 * The sight that belongs to (split, seed, index). Views are drawn at their own scale. A share of
 * `lookalikes` has things of two colours only, so that a name is no use without its shape.
 */
export function sightAt(split: Split, seed: number, index: number, lookalikes = 0): Sight {
  const rng = stream(seed, "nano-sight", split, index);
  const alike = lookalikes > 0 && rng.chance(lookalikes);
  const scene = alike ? sampleScene(rng, split, twoColours(rng)) : sampleScene(rng, split);
  const looked = rng.int(0, scene.objects.length - 1);
  const at = nearPlace(rng, scene.objects[looked], pointingSigmaPx);
  return {
    view: asModelImage(drawView(scene)),
    crop: asModelImage(cropAt(scene, at)),
    things: scene.objects.map((object) => {
      const { x, y } = viewPlace(object);
      return { name: nameOf(object), x, y, digit: object.plate.digit };
    }),
    looked,
  };
}

function twoColours(rng: Rng): Kind[] {
  const palette = rng.shuffle(colourNames).slice(0, 2);
  return sampleKinds(rng, sampleCount(rng), palette);
}
