/**
 * A sight is all that one scene gives to a conversation: its view, what stands where, and one crop of
 * one of its things, cut as imprecisely as a model points.
 */
import { stream } from "../core/random.ts";
import type { ModelImage } from "../image/model-image.ts";
import { drawView } from "./canvas.ts";
import { nameOf, sampleScene, viewPlace } from "./scene.ts";
import { asModelImage, cropAt, nearPlace, pointingSigmaPx } from "./tower-images.ts";
import type { Split } from "./world.ts";

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

/** The sight that belongs to (split, seed, index). Views are drawn at their own scale. */
export function sightAt(split: Split, seed: number, index: number): Sight {
  const rng = stream(seed, "nano-sight", split, index);
  const scene = sampleScene(rng, split);
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
