/**
 * The tokenizer of a model folder: byte-level BPE as Qwen, Llama 3 and GPT-2 ship it in
 * `tokenizer.json`. Encoding is @huggingface/tokenizers; decoding is ours, from bytes, because the
 * library loses a byte-order mark, and because a stream of tokens has to be cut at characters, not at
 * tokens. Ids are held equal to transformers by `golden.json`. Left out: every other decoder family.
 */
import { existsSync } from "node:fs";
import { join } from "node:path";
import { Tokenizer as HuggingFaceTokenizer } from "@huggingface/tokenizers";
import { z } from "zod";
import { VigorlError } from "../core/errors.ts";
import { readModelJson } from "../core/json-file.ts";
import { withinTime } from "../core/time-limit.ts";
import { fromVocabularyFiles, hasPublishedRules } from "./byte-level-bpe.ts";
import { growthOf, maxGrowth } from "./normalizer-growth.ts";

export interface DecodeOptions {
  /** Leave out control tokens such as `<|im_end|>`; `<tool_call>` is not one of them. */
  readonly skipSpecial?: boolean;
}

/** Ids of the tokens for and around images, as far as there are any. */
export interface VisionTokens {
  readonly image?: number;
  readonly video?: number;
  readonly start?: number;
  readonly end?: number;
}

export class Tokenizer {
  /** Number of ids from 0 that have a token; a model's embedding may have more rows. */
  readonly vocabSize: number;
  /** The token that ends a turn, as `eos_token` names it. */
  readonly eosId: number;
  /** What each special token is called and its id. */
  readonly specialTokens: ReadonlyMap<string, number>;
  /** The tokens that only an image or a video may bring into a prompt. */
  readonly vision: VisionTokens;

  /** Where it was read from. */
  readonly source: string;

  private readonly inner: HuggingFaceTokenizer;
  /** Byte-level spelling of each id's token; bytes are made when an id is first decoded. */
  private readonly spellings: readonly (string | undefined)[];
  private readonly bytesById: (Uint8Array | undefined)[] = [];
  private readonly specialIds: ReadonlySet<number>;
  private longest: number | undefined;
  /** Texts below this length come to an end whatever they say. */
  private readonly harmlessLength: number;

  /**
   * @param modelJson the model's `config.json`, which gives the ids of vision tokens; what it leaves
   *   out is found by its spelling
   * @throws VigorlError("input") when the tokenizer is of another family or names no `eos_token`.
   */
  constructor(
    tokenizerJson: unknown,
    configJson: unknown,
    source: string,
    modelJson: unknown = {},
  ) {
    this.source = source;
    const file = parse(tokenizerFile, tokenizerJson, `${source}/tokenizer.json`);
    const config = parse(tokenizerConfig, configJson, `${source}/tokenizer_config.json`);
    if (!decodesBytes(file.decoder)) {
      throw new VigorlError("input", `${source}/tokenizer.json: its decoder is not ByteLevel`, {
        hint: "use a model with a byte-level BPE tokenizer (Qwen, Llama 3, GPT-2)",
      });
    }
    const growth = growthOf([file.normalizer, file.pre_tokenizer]);
    if (!(growth <= maxGrowth)) {
      throw new VigorlError(
        "input",
        `${source}/tokenizer.json: makes texts up to ${growth} times as long before it cuts them`,
        { hint: "take it from where the model was published" },
      );
    }
    try {
      const options = { ...config, clean_up_tokenization_spaces: false };
      this.inner = new HuggingFaceTokenizer(file, options);
    } catch (cause) {
      const problem = `no tokenizer can be made of its files: ${(cause as Error).message}`;
      throw new VigorlError("input", `${source}: ${problem}`, {
        hint: "fetch tokenizer.json and tokenizer_config.json again",
        cause,
      });
    }
    const isPublished = hasPublishedRules(file.normalizer, file.pre_tokenizer);
    this.harmlessLength = isPublished ? PUBLISHED_HARMLESS_LENGTH : HARMLESS_LENGTH;
    const encoder = new TextEncoder();
    const spellings: (string | undefined)[] = [];
    for (const [token, id] of Object.entries(file.model.vocab)) {
      const known = checkedId(id, token, source);
      if (spellings[known] !== undefined) throw sameId(spellings[known], token, known, source);
      spellings[known] = token;
    }
    checkMerges(file.model.merges, source);
    for (const { id, content } of file.added_tokens) {
      spellings[checkedId(id, content, source)] = content;
      this.bytesById[id] = encoder.encode(content);
    }
    this.spellings = spellings;
    this.vocabSize = spellings.length;
    const special = file.added_tokens.filter((token) => token.special);
    this.specialTokens = new Map(special.map((token) => [token.content, token.id]));
    this.specialIds = new Set(special.map((token) => token.id));
    const eos = typeof config.eos_token === "object" ? config.eos_token?.content : config.eos_token;
    if (eos === undefined || this.findTokenId(eos) === undefined) {
      throw new VigorlError("input", `${source}/tokenizer_config.json: no known eos_token`, {
        hint: 'name the token that ends a turn, such as "eos_token": "<|im_end|>"',
      });
    }
    this.eosId = this.tokenId(eos);
    const model = parse(modelFile, modelJson, `${source}/config.json`);
    this.vision = {
      image: model.image_token_id ?? this.findTokenId("<|image_pad|>"),
      video: model.video_token_id ?? this.findTokenId("<|video_pad|>"),
      start: model.vision_start_token_id ?? this.findTokenId("<|vision_start|>"),
      end: model.vision_end_token_id ?? this.findTokenId("<|vision_end|>"),
    };
  }

  /** Stands where an image's features go. */
  get imagePadId(): number {
    return known(this.vision.image, "image");
  }

  get visionStartId(): number {
    return known(this.vision.start, "vision_start");
  }

  get visionEndId(): number {
    return known(this.vision.end, "vision_end");
  }

  get imStartId(): number {
    return this.tokenId("<|im_start|>");
  }

  get imEndId(): number {
    return this.tokenId("<|im_end|>");
  }

  /** Token ids of `text`; added tokens inside it are recognised, nothing is put around it. */
  encode(text: string): number[] {
    if (text === "") return [];
    const encode = () => this.inner.encode(text, { add_special_tokens: false }).ids;
    if (text.length < this.harmlessLength) return encode();
    return withinTime(ENCODE_MS + text.length / CHARACTERS_A_MS, encode, () => {
      const what = `does not come to an end over a text of ${text.length} characters`;
      return new VigorlError("input", `${this.source}/tokenizer.json: ${what}`, {
        hint: "its regular expressions or its normalizer are not sound; fetch it again",
      });
    });
  }

  /**
   * Whether a text is too long to fit in `numTokens`, whatever it says; seen without tokenising it. No
   * normal form joins more than four characters.
   */
  cannotFit(text: string, numTokens: number): boolean {
    this.longest ??= this.spellings.reduce((most, one = "") => Math.max(most, one.length), 1);
    return text.length > 4 * this.longest * numTokens;
  }

  /**
   * Text of `ids`. Bytes that are not UTF-8 become U+FFFD.
   * @throws VigorlError("input") on an id without a token.
   */
  decode(ids: readonly number[], options: DecodeOptions = {}): string {
    const stream = new StreamDecoder(this, options);
    return ids.map((id) => stream.push(id)).join("") + stream.flush();
  }

  /** Whether `id` has a token. Models may sample ids above, from rows of padding. */
  hasId(id: number): boolean {
    return this.spellings[id] !== undefined;
  }

  /** Whether `id` is a control token, which people are not shown. */
  isSpecial(id: number): boolean {
    return this.specialIds.has(id);
  }

  /** The bytes that `id` stands for. */
  bytes(id: number): Uint8Array {
    const known = this.bytesById[id];
    if (known !== undefined) return known;
    const spelling = this.spellings[id];
    if (spelling === undefined) {
      throw new VigorlError(
        "input",
        `token id ${id} has no token (the vocabulary has ${this.vocabSize})`,
        {
          hint: "the model folder and the tokenizer do not belong together, or a padding row was sampled",
        },
      );
    }
    return (this.bytesById[id] = bytesOf(spelling));
  }

  /** The id of the token written `name`. @throws VigorlError("input") when there is none. */
  tokenId(name: string): number {
    const id = this.findTokenId(name);
    if (id === undefined)
      throw new VigorlError("input", `the tokenizer has no token ${JSON.stringify(name)}`);
    return id;
  }

  findTokenId(name: string): number | undefined {
    return this.inner.token_to_id(name);
  }
}

/** A regular expression has to have something to go astray in. */
const HARMLESS_LENGTH = 20;
/** Qwen's takes a time quadratic in a run of blanks, which is nothing here. */
const PUBLISHED_HARMLESS_LENGTH = 5000;
/** What a sound tokenizer takes a hundredth of, on a busy machine too. */
const ENCODE_MS = 8000;
const CHARACTERS_A_MS = 50;

/** Decodes a token stream; what it has given out never changes and never ends inside a character. */
export class StreamDecoder {
  private readonly tokenizer: Tokenizer;
  private readonly skipSpecial: boolean;
  private readonly utf8 = new TextDecoder("utf-8", { ignoreBOM: true });

  constructor(tokenizer: Tokenizer, options: DecodeOptions = {}) {
    this.tokenizer = tokenizer;
    this.skipSpecial = options.skipSpecial ?? false;
  }

  /** The characters that `id` completes; empty while one is still open. */
  push(id: number): string {
    if (this.skipSpecial && this.tokenizer.isSpecial(id)) return "";
    return this.utf8.decode(this.tokenizer.bytes(id), { stream: true });
  }

  /** What is left at the end of the stream: U+FFFD for a character that never closed. */
  flush(): string {
    return this.utf8.decode();
  }
}

/** Whether a folder has a tokenizer, in one file or as vocabulary and merges. */
export function hasTokenizer(folder: string): boolean {
  const has = (name: string): boolean => existsSync(join(folder, name));
  return has("tokenizer.json") || (has("vocab.json") && has("merges.txt"));
}

/**
 * Reads a model folder's tokenizer and `tokenizer_config.json`, and from its `config.json`, where there
 * is one, which tokens stand for images.
 */
export async function loadTokenizer(folder: string): Promise<Tokenizer> {
  const modelPath = join(folder, "config.json");
  const [config, model] = await Promise.all([
    readJson(join(folder, "tokenizer_config.json")),
    readModelJson(modelPath),
  ]);
  const path = join(folder, "tokenizer.json");
  const isOlder = !existsSync(path) && existsSync(join(folder, "vocab.json"));
  const tokenizer = await (isOlder ? fromVocabularyFiles(folder, config) : readJson(path));
  return new Tokenizer(tokenizer, config, folder, model ?? {});
}

function known(id: number | undefined, name: string): number {
  if (id !== undefined) return id;
  throw new VigorlError("input", `the tokenizer has no token for ${name}`, {
    hint: `name it in config.json as ${name}_token_id`,
  });
}

/** Far above every vocabulary there is; tables are as long as the highest id. */
const maxTokenId = 2 ** 24;

function checkedId(id: unknown, token: string, source: string): number {
  if (typeof id === "number" && Number.isInteger(id) && id >= 0 && id < maxTokenId) return id;
  throw new VigorlError(
    "input",
    `${source}/tokenizer.json: ${JSON.stringify(token)} has the id ${String(id)}, which is none`,
    { hint: `ids are whole numbers from 0, below ${maxTokenId}` },
  );
}

function sameId(one: string, other: string, id: number, source: string): VigorlError {
  const [first, second] = [one, other].map((token) => JSON.stringify(token));
  return new VigorlError(
    "input",
    `${source}/tokenizer.json: ${first} and ${second} have the same id, ${id}`,
    { hint: "take it from where the model was published" },
  );
}

/** Merges are pairs, as a list or joined by a blank; others would be passed over. */
function checkMerges(merges: unknown, source: string): void {
  if (merges === undefined) return;
  const isPair = (merge: unknown) =>
    typeof merge === "string"
      ? /^[^ ]+ [^ ]+$/.test(merge)
      : Array.isArray(merge) &&
        merge.length === 2 &&
        merge.every((part) => typeof part === "string");
  const odd = Array.isArray(merges) ? merges.findIndex((merge) => !isPair(merge)) : 0;
  if (odd < 0) return;
  throw new VigorlError(
    "input",
    `${source}/tokenizer.json: merge ${odd + 1} is no pair of tokens`,
    {
      hint: "take it from where the model was published",
    },
  );
}

const addedToken = z.looseObject({ id: z.int(), content: z.string(), special: z.boolean() });
const tokenizerFile = z.looseObject({
  added_tokens: z.array(addedToken),
  decoder: z.looseObject({ type: z.string() }).nullable(),
  normalizer: z.unknown(),
  pre_tokenizer: z.unknown(),
  model: z.looseObject({
    vocab: z.custom<Record<string, unknown>>(isObject, "no vocabulary"),
    merges: z.unknown().optional(),
  }),
});
const tokenizerConfig = z.looseObject({
  eos_token: z
    .union([z.string(), z.looseObject({ content: z.string() })])
    .nullish()
    .transform((token) => token ?? undefined),
});

const modelFile = z.object({
  image_token_id: z.int().nonnegative().optional(),
  video_token_id: z.int().nonnegative().optional(),
  vision_start_token_id: z.int().nonnegative().optional(),
  vision_end_token_id: z.int().nonnegative().optional(),
});

/** A vocabulary of 150,000 words is not checked word by word: that takes longer than all the rest. */
function isObject(value: unknown): boolean {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}

function parse<T>(schema: z.ZodType<T>, json: unknown, source: string): T {
  const result = schema.safeParse(json);
  if (result.success) return result.data;
  throw new VigorlError("input", `${source}: ${z.prettifyError(result.error)}`);
}

function decodesBytes(decoder: z.infer<typeof tokenizerFile>["decoder"]): boolean {
  return decoder?.type === "ByteLevel";
}

/** The bytes a byte-level spelling stands for; one that is not byte-level stands for itself. */
function bytesOf(spelling: string): Uint8Array {
  const bytes = Array.from(spelling, (char) => BYTE_OF.get(char));
  return bytes.every((byte) => byte !== undefined)
    ? Uint8Array.from(bytes)
    : new TextEncoder().encode(spelling);
}

/**
 * Byte-level BPE writes each byte as one printable character: itself where it is printable Latin-1,
 * else the next free code point from 256 on (GPT-2's table).
 */
const BYTE_OF = byteLevelAlphabet();

function byteLevelAlphabet(): Map<string, number> {
  const out = new Map<string, number>();
  let next = 256;
  for (let byte = 0; byte < 256; byte++) {
    const printable =
      (byte >= 0x21 && byte <= 0x7e) || (byte >= 0xa1 && byte <= 0xac) || byte >= 0xae;
    out.set(String.fromCodePoint(printable ? byte : next++), byte);
  }
  return out;
}

async function readJson(path: string): Promise<unknown> {
  const json = await readModelJson(path);
  if (json !== undefined) return json;
  throw new VigorlError("input", `cannot read ${path}: there is no such file`, {
    hint: "a model folder needs tokenizer.json and tokenizer_config.json beside config.json",
  });
}
