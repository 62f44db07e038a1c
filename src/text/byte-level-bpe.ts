/**
 * Byte-level BPE as Qwen's models have it, in the form of a `tokenizer.json`: of a vocabulary and merges
 * that were made here, or of the `vocab.json` and `merges.txt` of a folder that has no `tokenizer.json`.
 */
import { join } from "node:path";
import { z } from "zod";
import { VigorlError } from "../core/errors.ts";
import { readModelJson, readModelText } from "../core/json-file.ts";

export interface AddedToken {
  readonly id: number;
  readonly content: string;
  readonly single_word: boolean;
  readonly lstrip: boolean;
  readonly rstrip: boolean;
  readonly normalized: boolean;
  /** Whether it is a control token. */
  readonly special: boolean;
}

/** What is never merged across: the words of Qwen2 to Qwen3, in the library's regular expressions. */
const wordPattern =
  "(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\\r\\n\\p{L}\\p{N}]?\\p{L}+|\\p{N}| ?[^\\s\\p{L}\\p{N}]+[\\r\\n]*|\\s*[\\r\\n]+|\\s+(?!\\S)|\\s+";

/** The contents of a `tokenizer.json`. */
export function byteLevelBpe(
  vocab: Readonly<Record<string, number>>,
  merges: readonly (readonly [string, string])[],
  addedTokens: readonly AddedToken[],
): unknown {
  const byteLevel = { type: "ByteLevel", add_prefix_space: false, trim_offsets: false };
  return {
    version: "1.0",
    truncation: null,
    padding: null,
    added_tokens: addedTokens,
    normalizer: { type: "NFC" },
    pre_tokenizer: {
      type: "Sequence",
      pretokenizers: [
        {
          type: "Split",
          pattern: { Regex: wordPattern },
          behavior: "Isolated",
          invert: false,
        },
        { ...byteLevel, use_regex: false },
      ],
    },
    post_processor: { ...byteLevel, use_regex: false },
    decoder: { ...byteLevel, use_regex: false },
    model: {
      type: "BPE",
      dropout: null,
      unk_token: null,
      continuing_subword_prefix: "",
      end_of_word_suffix: "",
      fuse_unk: false,
      byte_fallback: false,
      ignore_merges: false,
      vocab,
      merges,
    },
  };
}

/** Whether texts are cut by the published rules, whose time is known, and by nothing else. */
export function hasPublishedRules(normalizer: unknown, preTokenizer: unknown): boolean {
  return published.safeParse({ normalizer, preTokenizer }).success;
}

const published = z.object({
  normalizer: z.strictObject({ type: z.literal("NFC") }).nullish(),
  preTokenizer: z.object({
    type: z.literal("Sequence"),
    pretokenizers: z.tuple([
      z.object({
        type: z.literal("Split"),
        pattern: z.strictObject({ Regex: z.literal(wordPattern) }),
      }),
      z.object({ type: z.literal("ByteLevel"), use_regex: z.literal(false) }),
    ]),
  }),
});

/**
 * The `tokenizer.json` that a folder leaves to be made from `vocab.json`, `merges.txt` and its
 * `tokenizer_config.json`.
 * @throws VigorlError "input" for another kind of tokenizer and for damaged files, "io"
 */
export async function fromVocabularyFiles(folder: string, config: unknown): Promise<unknown> {
  const place = (name: string): string => join(folder, name);
  const { tokenizer_class: kind, added_tokens_decoder: added } = parseAt(
    place("tokenizer_config.json"),
    configSchema,
    config,
  );
  if (!/^Qwen2Tokenizer(Fast)?$/.test(kind)) {
    throw new VigorlError(
      "input",
      `${place("tokenizer.json")}: missing, and ${kind} has no other`,
      {
        hint: "copy it from where the model was published",
      },
    );
  }
  const [vocabJson, mergesText] = await Promise.all([
    readModelJson(place("vocab.json")),
    readModelText(place("merges.txt")),
  ]);
  if (mergesText === undefined) {
    throw new VigorlError("input", `${place("merges.txt")}: missing`, {
      hint: "copy it from where the model was published",
    });
  }
  const vocab = parseAt(place("vocab.json"), vocabSchema, vocabJson);
  const lines = mergesText.split(/\r?\n/);
  const merges = lines.flatMap((line, i): [string, string][] => {
    if (line === "" || (i === 0 && line.startsWith("#version"))) return [];
    const pair = line.split(" ");
    if (pair.length !== 2) {
      throw new VigorlError("input", `${place("merges.txt")}:${i + 1}: not two parts of a token`, {
        hint: "the file is damaged; fetch the model folder again",
      });
    }
    return [[pair[0], pair[1]]];
  });
  const tokens = Object.entries(added).map(([id, token]) => ({ id: Number(id), ...token }));
  return byteLevelBpe(vocab, merges, tokens);
}

const addedSchema = z.object({
  content: z.string(),
  single_word: z.boolean().default(false),
  lstrip: z.boolean().default(false),
  rstrip: z.boolean().default(false),
  normalized: z.boolean().default(false),
  special: z.boolean().default(false),
});
const configSchema = z.object({
  tokenizer_class: z.string(),
  added_tokens_decoder: z.record(z.string().regex(/^\d+$/), addedSchema),
});
const vocabSchema = z.record(z.string(), z.int().nonnegative());

function parseAt<S extends z.ZodType>(path: string, schema: S, json: unknown): z.infer<S> {
  const result = schema.safeParse(json);
  if (result.success) return result.data;
  throw new VigorlError("input", `${path}: ${z.prettifyError(result.error)}`);
}
