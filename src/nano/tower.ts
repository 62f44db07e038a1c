/**
 * First step of base training: the vision tower alone, on dense words. The visual token that holds an
 * object names its colour and shape, the tokens over a plate name its mark, each by dot product with
 * the language model's own word embeddings, so that the language model can read what it is handed.
 * The digits of the place come from linear heads that are thrown away afterwards.
 */
import { stream } from "../core/random.ts";
import type { VisionLanguageModel } from "../model/vision-language-model.ts";
import { crossEntropy } from "../torch/nn.ts";
import { linear, type Tensor } from "../torch/ops.ts";
import { noGrad, scope } from "../torch/scope.ts";
import { tensor, type Device } from "../torch/tensor.ts";
import type { Tokenizer } from "../text/tokenizer.ts";
import {
  cropImage,
  patchesPerImage,
  patchLength,
  pointingSigmaPx,
  stackImages,
  viewImage,
  type TowerBatch,
  type TowerLabels,
} from "./tower-images.ts";
import { colourNames, shapeNames } from "./world.ts";

/** Ids of the words that the tower speaks, in the order of their names. */
export interface TowerWords {
  /** Colours, then the word for "nothing here". */
  readonly colours: readonly number[];
  readonly shapes: readonly number[];
  readonly digits: readonly number[];
}

/** The place heads by name: [10, hidden] each. */
export type PlaceHeads = Map<string, Tensor>;

export interface TowerAccuracy {
  readonly colour: number;
  readonly shape: number;
  readonly tens: number;
  readonly units: number;
  /** Of single crops of held-out digits and signs, over the tokens around the plate's middle. */
  readonly digit: number;
  readonly sign: number;
}

/** Factor on dot products with word embeddings, whose entries are small at the start. */
const wordScale = 8;
const places = ["x.tens", "x.units", "y.tens", "y.units"] as const;

export function towerWords(tokenizer: Tokenizer): TowerWords {
  const id = (text: string): number => {
    const ids = tokenizer.encode(text);
    if (ids.length !== 1) throw new Error(`${JSON.stringify(text)} is ${ids.length} tokens`);
    return ids[0];
  };
  return {
    colours: [...colourNames, "no"].map((name) => id(` ${name}`)),
    shapes: shapeNames.map((name) => id(` ${name}`)),
    digits: Array.from({ length: 10 }, (_, digit) => id(String(digit))),
  };
}

export function newPlaceHeads(hiddenSize: number, seed: number, device: Device): PlaceHeads {
  return new Map(
    places.map((name) => {
      const random = stream(seed, "nano-head", name);
      const data = Float32Array.from({ length: 10 * hiddenSize }, () => 0.02 * random.normal());
      return [`head.${name}`, tensor(data, { shape: [10, hiddenSize], device }).keep()];
    }),
  );
}

/** Loss of a batch; call inside a scope. */
export function towerLoss(
  model: VisionLanguageModel,
  heads: PlaceHeads,
  words: TowerWords,
  batch: TowerBatch,
): Tensor {
  const { device } = model;
  const features = encode(model, batch);
  const { labels } = batch;
  const word = (ids: readonly number[], wanted: Int32Array): Tensor => {
    const [rows, targets] = labelled(wanted);
    // A small batch may hold no digit; a mean over nothing is no number.
    if (rows.length === 0) return features.sum().mul(0);
    return crossEntropy(wordLogits(model, features, rows, ids), tensor(targets, { device }));
  };
  const place = (axis: "x" | "y"): Tensor => {
    const [rows, targets] = labelled(labels[axis]);
    const at = features.indexSelect(0, tensor(rows, { device }));
    const tens = linear(at, headOf(heads, `${axis}.tens`));
    const units = linear(at, headOf(heads, `${axis}.units`));
    const digit = (of: (value: number) => number) => tensor(targets.map(of), { device });
    return crossEntropy(
      tens,
      digit((value) => Math.floor(value / 10)),
    ).add(
      crossEntropy(
        units,
        digit((value) => value % 10),
      ),
    );
  };
  return word(words.colours, labels.colour)
    .add(word(words.shapes, labels.shape))
    .add(word(words.digits, labels.digit).mul(1.5))
    .add(place("x").mul(0.5))
    .add(place("y").mul(0.5));
}

/** Accuracies on held-out scenes, digits and drawings. */
export function towerAccuracy(
  model: VisionLanguageModel,
  heads: PlaceHeads,
  words: TowerWords,
  numImages: number,
): TowerAccuracy {
  const views = Array.from({ length: numImages }, (_, i) =>
    viewImage(stream(9, "nano-tower-eval", "view", i), "heldout"),
  );
  const crops = Array.from({ length: 2 * numImages }, (_, i) =>
    cropImage(stream(9, "nano-tower-eval", "crop", i), "heldout", pointingSigmaPx),
  );
  const tally = {
    colour: [0, 0],
    shape: [0, 0],
    tens: [0, 0],
    units: [0, 0],
    digit: [0, 0],
    sign: [0, 0],
  };
  const count = (key: keyof typeof tally, guesses: ArrayLike<number>, targets: Int32Array) => {
    for (let i = 0; i < targets.length; i++) tally[key][0] += guesses[i] === targets[i] ? 1 : 0;
    tally[key][1] += targets.length;
  };
  const shown = [
    ...chunks(views, 64).map((images) => ({ images, shape: "shape" as const })),
    ...chunks(crops, 64).map((images) => ({ images, shape: "sign" as const })),
  ];
  for (const { images, shape } of shown)
    noGrad(() =>
      scope(() => {
        const batch = stackImages(images);
        const { labels } = batch;
        const features = encode(model, batch);
        const word = (key: keyof typeof tally, ids: readonly number[], wanted: Int32Array) => {
          const [rows, targets] = labelled(wanted);
          if (rows.length === 0) return;
          count(key, best(wordLogits(model, features, rows, ids)), targets);
        };
        word("colour", words.colours, objectColours(labels));
        word(shape, words.shapes, labels.shape);
        word("digit", words.digits, labels.digit);
        for (const axis of ["x", "y"] as const) {
          const [rows, targets] = labelled(labels[axis]);
          if (rows.length === 0) continue;
          const at = features.indexSelect(0, tensor(rows, { device: model.device }));
          const tens = best(linear(at, headOf(heads, `${axis}.tens`)));
          const units = best(linear(at, headOf(heads, `${axis}.units`)));
          count(
            "tens",
            tens,
            targets.map((value) => Math.floor(value / 10)),
          );
          count(
            "units",
            units,
            targets.map((value) => value % 10),
          );
        }
      }),
    );
  const share = ([right, all]: number[]) => right / Math.max(1, all);
  return {
    colour: share(tally.colour),
    shape: share(tally.shape),
    tens: share(tally.tens),
    units: share(tally.units),
    digit: share(tally.digit),
    sign: share(tally.sign),
  };
}

function encode(model: VisionLanguageModel, batch: TowerBatch): Tensor {
  const shape = [batch.grids.length * patchesPerImage, patchLength];
  return model.encodePatches(tensor(batch.patches, { shape, device: model.device }), batch.grids);
}

function wordLogits(
  model: VisionLanguageModel,
  features: Tensor,
  rows: Int32Array,
  ids: readonly number[],
): Tensor {
  const { device, language } = model;
  const words = language.embedTokens.indexSelect(0, tensor(Int32Array.from(ids), { device }));
  return linear(features.indexSelect(0, tensor(rows, { device })), words).mul(wordScale);
}

/** Feature rows that have a label, and the labels. */
function labelled(labels: Int32Array): [rows: Int32Array, targets: Int32Array] {
  const rows = Int32Array.from(labels.keys()).filter((row) => labels[row] >= 0);
  return [rows, rows.map((row) => labels[row])];
}

/** Colour labels of tokens with an object. */
function objectColours({ colour, shape }: TowerLabels): Int32Array {
  return colour.map((value, token) => (shape[token] < 0 ? -1 : value));
}

function headOf(heads: PlaceHeads, name: string): Tensor {
  const head = heads.get(`head.${name}`);
  if (head === undefined) throw new Error(`no head ${name}`);
  return head;
}

function best(logits: Tensor): number[] {
  return logits.argmax(-1).toNumbers();
}

function chunks<T>(items: readonly T[], size: number): T[][] {
  return Array.from({ length: Math.ceil(items.length / size) }, (_, i) =>
    items.slice(i * size, (i + 1) * size),
  );
}
