/**
 * Second and third step of base training: the language model on conversations about sights. While the
 * tower is frozen its features are made once for a pool of sights; afterwards it is trained along.
 */
import { stream, type Rng } from "../core/random.ts";
import { patches, type ModelImage } from "../image/model-image.ts";
import { flatRow, planBatch, type InputChunk, type ImageRef } from "../model/batch.ts";
import type { VisionLanguageModel } from "../model/vision-language-model.ts";
import { crossEntropy } from "../torch/nn.ts";
import { cat, type Tensor } from "../torch/ops.ts";
import { noGrad, scope } from "../torch/scope.ts";
import { tensor } from "../torch/tensor.ts";
import type { Tokenizer } from "../text/tokenizer.ts";
import type { ChatPart, ChatWeights, ImagePart } from "./chat-parts.ts";
import { makeChat, suits, type ChatKind, type Scenery } from "./chats.ts";
import { sightAt, type Sight } from "./sights.ts";
import { numTokens } from "./tower-images.ts";
import { colourNames, nanoPreprocessor, relations, shapeNames } from "./world.ts";
import { WordEncoder } from "./word-encoder.ts";

/** One conversation as the model reads it. */
export interface Example<I extends ImageRef = ImageRef> {
  readonly chunks: readonly InputChunk<I>[];
  /** Every position expanded: the token that stands there (-1 in images) and its weight. */
  readonly tokens: readonly number[];
  readonly weights: readonly number[];
}

/** Share of each kind among the conversations. */
export type ChatMix = Readonly<Partial<Record<ChatKind, number>>>;

export interface ChatAccuracy {
  /** Shape of the named colour, where one thing alone has it. */
  readonly bind: number;
  /**
   * Place of the named thing, both axes within 2 view pixels: its digit lies in the window. Of things
   * that alone have their colour, as on the canvases of the tasks.
   */
  readonly place: number;
  /** The same of things that share their colour with another. */
  readonly placeAlike: number;
  /** Digit of a held-out crop, read in the second turn. */
  readonly read: number;
  /** Share of named colours that are in the scene. */
  readonly named: number;
  /** Relation of the two things that were looked at, given their places. */
  readonly relation: number;
  /** Sign of a held-out crop. */
  readonly sign: number;
  /** Colour of the one thing that has a shape. */
  readonly shape: number;
  /** Place of what is named after a first crop, where that is another thing. */
  readonly placeLater: number;
  /** Whether a digit that was read is the one that is wanted, told by the word behind it. */
  readonly verdict: number;
  /** Answer of a tour that follows from what was seen: the thing that carries the digit, or the greater one. */
  readonly answer: number;
  /** Probability that a search looks first at the thing that its question names, by its colour. */
  readonly asked: number;
}

/** Draws a kind by its share. */
export function pickKind(rng: Rng, mix: ChatMix): ChatKind {
  const kinds = Object.entries(mix) as [ChatKind, number][];
  let left = rng.float() * kinds.reduce((sum, [, share]) => sum + share, 0);
  for (const [kind, share] of kinds) if ((left -= share) < 0) return kind;
  return kinds[kinds.length - 1][0];
}

/** Turns a conversation into tokens; a token takes the weight of the part in which it begins. */
export function toExample<I extends ImageRef>(
  parts: readonly ChatPart[],
  encoder: WordEncoder,
  tokenizer: Tokenizer,
  imageOf: (which: ImagePart["which"]) => I,
): Example<I> {
  const chunks: InputChunk<I>[] = [];
  const tokens: number[] = [];
  const weights: number[] = [];
  let text = "";
  let weightAt: number[] = [];
  const flush = () => {
    const ids = encoder.encode(text);
    let at = 0;
    for (const id of ids) {
      tokens.push(id);
      weights.push(weightAt[at]);
      at += tokenizer.bytes(id).length;
    }
    if (at !== text.length) throw new Error("the nano world speaks ASCII");
    if (ids.length > 0) chunks.push({ type: "text", tokens: ids });
    text = "";
    weightAt = [];
  };
  for (const part of parts) {
    if (part.type === "text") {
      text += part.text;
      for (let i = 0; i < part.text.length; i++) weightAt.push(part.weight);
      continue;
    }
    flush();
    const image = imageOf(part.which);
    chunks.push({ type: "image", image });
    for (let i = 0; i < image.numTokens; i++) {
      tokens.push(-1);
      weights.push(0);
    }
  }
  flush();
  return { chunks, tokens, weights };
}

/** Weighted mean of −log p over the positions with a weight. Call inside a scope. */
export function chatLoss<I extends ImageRef>(
  model: VisionLanguageModel,
  examples: readonly Example<I>[],
  featuresOf: (images: readonly I[]) => Tensor,
): Tensor {
  const { device } = model;
  const { logits, targets, weights } = chatLogits(model, examples, featuresOf);
  const losses = crossEntropy(logits, tensor(targets, { device }), { reduction: "none" });
  const total = weights.reduce((sum, weight) => sum + weight, 0);
  return losses.mul(tensor(weights, { device })).sum().div(total);
}

/** Features of whole images, from their pixels. */
export function encodeFresh(model: VisionLanguageModel, images: readonly ModelImage[]): Tensor {
  return model.encodeImages(images, (image) => patches(image, nanoPreprocessor));
}

/**
 * Features of many sights by a frozen tower, [images · 16, hidden]: of each sight its view, then its
 * crops.
 */
export class FeaturePool {
  readonly sights: readonly Scenery[];
  private readonly features: Tensor;
  /** Number of the image that is each sight's view. */
  private readonly begins: readonly number[];

  constructor(sights: readonly Scenery[], parts: readonly Tensor[]) {
    this.sights = sights;
    let images = 0;
    this.begins = sights.map(({ looks }) => (images += 1 + looks.length) - 1 - looks.length);
    this.features = scope(() => cat([...parts], 0).keep());
    for (const part of parts) part.dispose();
  }

  /** Stands for an image of the pool in a conversation. */
  reference(index: number, which: ImagePart["which"]): ImageRef {
    const grid = { t: 1, h: 8, w: 8 } as const;
    const image = this.begins[index] + (which === "view" ? 0 : 1 + which);
    return { hash: String(image), grid, numTokens };
  }

  featuresOf(images: readonly ImageRef[]): Tensor {
    const rows = new Int32Array(images.length * numTokens);
    images.forEach(({ hash }, i) => {
      for (let k = 0; k < numTokens; k++) rows[i * numTokens + k] = Number(hash) * numTokens + k;
    });
    return this.features.indexSelect(0, tensor(rows, { device: this.features.device }));
  }

  dispose(): void {
    this.features.dispose();
  }
}

/** Encodes the images of some sights; the result outlives the scope. */
export function encodeSights(model: VisionLanguageModel, sights: readonly Sight[]): Tensor {
  return noGrad(() =>
    scope(() =>
      encodeFresh(
        model,
        sights.flatMap(({ view, crops }) => [view, ...crops]),
      ).keep(),
    ),
  );
}

/** Accuracies on held-out sights, each token predicted with the true ones before it. */
export function chatAccuracy(
  model: VisionLanguageModel,
  tokenizer: Tokenizer,
  numSights: number,
): ChatAccuracy {
  const encoder = new WordEncoder(tokenizer);
  const weights: ChatWeights = { chance: 1, form: 1 };
  const atAsked: ChatWeights = { ...weights, questionConditioned: 1 };
  const tally = {
    bind: [0, 0],
    place: [0, 0],
    placeAlike: [0, 0],
    read: [0, 0],
    named: [0, 0],
    relation: [0, 0],
    sign: [0, 0],
    shape: [0, 0],
    placeLater: [0, 0],
    verdict: [0, 0],
    answer: [0, 0],
    asked: [0, 0],
  };
  const add = (key: keyof typeof tally, share: number) => {
    tally[key][0] += share;
    tally[key][1]++;
  };
  const count = (key: keyof typeof tally, right: boolean) => add(key, right ? 1 : 0);
  for (let from = 0; from < numSights; from += 32) {
    const sights = Array.from({ length: Math.min(32, numSights - from) }, (_, i) =>
      sightAt("heldout", 77, from + i, { looks: 4 }),
    );
    for (const kind of [
      "list",
      "search",
      "relation",
      "sign",
      "shape",
      "seek",
      "compare",
    ] as const) {
      const suited = sights.filter((sight) => suits(kind, sight));
      const examples = suited.map((sight, i) => {
        const rng = stream(77, "nano-chat-eval", kind, from + i);
        const chat = makeChat(kind, sight, rng, kind === "search" ? atAsked : weights);
        return toExample(chat, encoder, tokenizer, imagesOf(sight));
      });
      const { guesses, probabilities } = noGrad(() => scope(() => predict(model, examples)));
      examples.forEach(({ tokens }, i) => {
        const words = tokens.map((id) => (id < 0 ? "" : tokenizer.decode([id])));
        const guessed = guesses[i].map((id) =>
          tokenizer.hasId(id) ? tokenizer.decode([id]) : "?",
        );
        if (kind === "seek" || kind === "compare") scoreTour(words, guessed, count);
        else if (kind === "list") scoreNames(words, guessed, suited[i], count);
        else if (kind === "search") {
          count("read", scoreReading(words, guessed));
          add("asked", probabilities[i][firstColour(words)]);
        } else count(kind, scoreLast(lastWords[kind], words, guessed));
      });
    }
  }
  const share = ([right, all]: number[]) => right / Math.max(1, all);
  return {
    bind: share(tally.bind),
    place: share(tally.place),
    placeAlike: share(tally.placeAlike),
    read: share(tally.read),
    named: share(tally.named),
    relation: share(tally.relation),
    sign: share(tally.sign),
    shape: share(tally.shape),
    placeLater: share(tally.placeLater),
    verdict: share(tally.verdict),
    answer: share(tally.answer),
    asked: share(tally.asked),
  };
}

/** A name with its place is ten tokens: colour, shape, " (", two digits, ",", " ", two digits, ")". */
function scoreNames(
  words: readonly string[],
  guessed: readonly string[],
  sight: Sight,
  count: (key: "bind" | "place" | "placeAlike" | "named", right: boolean) => void,
): void {
  const colours = sight.things.map(({ name }) => name.split(" ")[0]);
  words.forEach((word, at) => {
    const colour = word.trim();
    if (!isName(words, at)) return;
    const alone = colours.filter((other) => other === colour).length === 1;
    count("named", colours.includes(guessed[at].trim()));
    if (alone) count("bind", guessed[at + 1] === words[at + 1]);
    count(alone ? "place" : "placeAlike", isPlaceRight(words, guessed, at));
  });
}

/** Whether both axes of the place behind the name at a word are within 2 view pixels. */
function isPlaceRight(words: readonly string[], guessed: readonly string[], at: number): boolean {
  const number = (from: readonly string[], offset: number) =>
    Number(from[at + offset] + from[at + offset + 1]);
  const near = (offset: number) => Math.abs(number(guessed, offset) - number(words, offset)) <= 2;
  return near(3) && near(7);
}

function isName(words: readonly string[], at: number): boolean {
  return (
    isOneOf(colourNames, words[at].trim()) && isOneOf(shapeNames, (words[at + 1] ?? "").trim())
  );
}

/** Places named for the first time after the first crop, and the thing in the answer. */
function scoreTour(
  words: readonly string[],
  guessed: readonly string[],
  count: (key: "placeLater" | "verdict" | "answer", right: boolean) => void,
): void {
  const crop = words.indexOf("", words.indexOf("assistant"));
  const seen = new Set<string>();
  const answer = words.findLastIndex((_, at) => isName(words, at));
  const isSeek = words.some((word) => word.trim() === "carries");
  words.forEach((word, at) => {
    if (at < words.indexOf("assistant")) return;
    if (isSeek && /^\d$/.test(word.trim()) && words.slice(at - 3, at).join("") === " it is ")
      count("verdict", (guessed[at + 1] === " not") === (words[at + 1] === " not"));
    if (!isName(words, at)) return;
    const name = `${words[at]}${words[at + 1]}`;
    if (words[at + 2]?.trim() !== "(") {
      if (at === answer) count("answer", guessed[at] === words[at]);
      return;
    }
    if (at > crop && !seen.has(name)) count("placeLater", isPlaceRight(words, guessed, at));
    seen.add(name);
  });
}

/** The first digit after the last image. */
function scoreReading(words: readonly string[], guessed: readonly string[]): boolean {
  const image = words.lastIndexOf("");
  const at = words.findIndex((word, i) => i > image && /^\d$/.test(word));
  return guessed[at] === words[at];
}

/** The first colour that the model names, behind the one in the question. */
function firstColour(words: readonly string[]): number {
  const isColour = (word: string) => isOneOf(colourNames, word.trim());
  const asked = words.findIndex(isColour);
  return words.findIndex((word, at) => at > asked && isColour(word));
}

/** The words of which the last one is the answer; questions hold some of them, too. */
const lastWords = { relation: relations, sign: shapeNames, shape: colourNames } as const;

function scoreLast(
  among: readonly string[],
  words: readonly string[],
  guessed: readonly string[],
): boolean {
  const at = words.findLastIndex((word) => isOneOf(among, word.trim()));
  return guessed[at] === words[at];
}

/** The pictures of a sight as its conversations name them. */
export function imagesOf({ view, crops }: Sight): (which: ImagePart["which"]) => ModelImage {
  return (which) => (which === "view" ? view : crops[which]);
}

/**
 * For every position of every example, given the true tokens before it: the likeliest token, and the
 * probability of the true one (0 where there is none).
 */
function predict(
  model: VisionLanguageModel,
  examples: readonly Example<ModelImage>[],
): { guesses: number[][]; probabilities: number[][] } {
  const batch = planBatch(
    examples.map(({ chunks }) => [...chunks]),
    model.config,
  );
  const features = encodeFresh(model, batch.images);
  const logits = model.logits(model.hidden(batch, { features }));
  const best = logits.argmax(-1).toNumbers();
  const targets = new Int32Array(best.length);
  examples.forEach(({ tokens }, s) =>
    tokens.forEach((token, t) => {
      if (t > 0 && token >= 0) targets[flatRow(batch, s, t - 1)] = token;
    }),
  );
  const losses = crossEntropy(logits, tensor(targets, { device: model.device }), {
    reduction: "none",
  }).toNumbers();
  const atEach = (of: (row: number, token: number) => number) =>
    examples.map(({ tokens }, s) =>
      tokens.map((token, t) => (t === 0 ? 0 : of(flatRow(batch, s, t - 1), token))),
    );
  return {
    guesses: atEach((row) => best[row]),
    probabilities: atEach((row, token) => (token < 0 ? 0 : Math.exp(-losses[row]))),
  };
}

function chatLogits<I extends ImageRef>(
  model: VisionLanguageModel,
  examples: readonly Example<I>[],
  featuresOf: (images: readonly I[]) => Tensor,
): { logits: Tensor; targets: Int32Array; weights: Float32Array } {
  const batch = planBatch(
    examples.map(({ chunks }) => [...chunks]),
    model.config,
  );
  const rows: number[] = [];
  const targets: number[] = [];
  const kept: number[] = [];
  examples.forEach(({ tokens, weights }, s) =>
    tokens.forEach((token, t) => {
      if (weights[t] === 0) return;
      rows.push(flatRow(batch, s, t - 1));
      targets.push(token);
      kept.push(weights[t]);
    }),
  );
  const features = featuresOf(batch.images);
  const hidden = model.hidden(batch, { features, rows: Int32Array.from(rows) });
  return {
    logits: model.logits(hidden),
    targets: Int32Array.from(targets),
    weights: Float32Array.from(kept),
  };
}

function isOneOf(names: readonly string[], name: string): boolean {
  return names.includes(name);
}
