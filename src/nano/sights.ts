/**
 * A sight is all that one scene gives to a conversation: its view, what stands where, and crops of some
 * of its things, cut as imprecisely as a model points.
 */
import { stream, type Rng } from "../core/random.ts";
import type { ModelImage } from "../image/model-image.ts";
import { drawView } from "./canvas.ts";
import type { Mark } from "./inks.ts";
import {
  nameOf,
  sampleCount,
  sampleKinds,
  sampleOwnKinds,
  sampleScene,
  viewPlace,
  type Kind,
} from "./scene.ts";
import { asModelImage, cropAt, nearPlace, pointingSigmaPx } from "./tower-images.ts";
import { colourNames, shapeNames, type Split } from "./world.ts";

export interface Sight {
  readonly view: ModelImage;
  /** One for each of `looks`. */
  readonly crops: readonly ModelImage[];
  readonly things: readonly Thing[];
  /** Indices of the things that the crops show, at least one of which carries a digit. */
  readonly looks: readonly number[];
  /** Whether each look's sign shows the shape of the next one, and the last look shows a digit. */
  readonly isTrail: boolean;
}

export interface Thing {
  /** "red star" */
  readonly name: string;
  /** View pixels, whole. */
  readonly x: number;
  readonly y: number;
  readonly mark: Mark;
}

export interface SightOptions {
  /** Share of sights with things of two colours only, so that a name is no use without its shape. */
  readonly lookalikes?: number;
  /** Crops at most; default 1. */
  readonly looks?: number;
}

/** The sight that belongs to (split, seed, index). Views are drawn at their own scale. */
export function sightAt(
  split: Split,
  seed: number,
  index: number,
  { lookalikes = 0, looks: most = 1 }: SightOptions = {},
): Sight {
  const rng = stream(seed, "nano-sight", split, index);
  const count = sampleCount(rng);
  const isTrail = most > 1 && rng.chance(trailShare);
  const alike = !isTrail && lookalikes > 0 && rng.chance(lookalikes);
  const kinds = isTrail
    ? sampleOwnKinds(rng, count)
    : sampleKinds(rng, count, alike ? two(rng) : colourNames);
  const order = rng.shuffle(kinds.map((_, i) => i));
  const looks = order.slice(0, isTrail ? rng.int(2, Math.min(most, count)) : most);
  const marks = kinds.map((_, i) => sampleMark(rng, kinds, i));
  if (isTrail) looks.slice(1).forEach((next, i) => (marks[looks[i]] = kinds[next].shape));
  const digitAt = isTrail ? looks[looks.length - 1] : looks[0];
  if (typeof marks[digitAt] !== "number") marks[digitAt] = rng.int(0, 9);
  const scene = sampleScene(rng, split, kinds, marks);
  const crops = looks.map((look) =>
    cropAt(scene, nearPlace(rng, scene.objects[look], pointingSigmaPx)),
  );
  return {
    view: asModelImage(drawView(scene)),
    crops: crops.map(asModelImage),
    things: scene.objects.map((object) => {
      const { x, y } = viewPlace(object);
      return { name: nameOf(object), x, y, mark: object.plate.mark };
    }),
    looks,
    isTrail,
  };
}

/** Share of sights with several looks in which these follow the signs. */
const trailShare = 0.4;
/** Share of plates with a sign, and of signs that show a thing of their scene. */
const signShare = 0.3;
const ownShare = 0.7;

function sampleMark(rng: Rng, kinds: readonly Kind[], own: number): Mark {
  if (!rng.chance(signShare)) return rng.int(0, 9);
  const others = kinds.filter((_, i) => i !== own);
  return rng.chance(ownShare) ? rng.pick(others).shape : rng.pick(shapeNames);
}

function two(rng: Rng): typeof colourNames {
  return rng.shuffle(colourNames).slice(0, 2);
}
