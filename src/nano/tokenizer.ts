/**
 * The nano model's tokenizer: byte-level BPE in the form of Qwen2.5 (its pre-tokenizer, its added
 * tokens), trained to completion on the nano world's own words, so that each is one token, with and
 * without a blank before it. Digits stand alone; everything else falls back to bytes.
 */
import { byteLevelBpe } from "../text/byte-level-bpe.ts";
import { formatTurn } from "../text/grammar.ts";
import { defaultTags } from "../text/tags.ts";
import { point } from "../image/frames.ts";
import {
  chaseQuestion,
  clickQuestion,
  compareQuestion,
  correction,
  digitQuestion,
  findQuestion,
  lookThought,
  markThought,
  noneAnswer,
  noToolSuffix,
  placeQuestion,
  relationQuestion,
  searchQuestion,
  shapeQuestion,
  signQuestion,
  thingQuestion,
} from "./language.ts";
import { colourNames, relations, shapeNames } from "./world.ts";

/** Ids follow the ordinary tokens in this order, as in Qwen2.5. */
export const controlTokens = [
  "<|endoftext|>",
  "<|im_start|>",
  "<|im_end|>",
  "<|object_ref_start|>",
  "<|object_ref_end|>",
  "<|box_start|>",
  "<|box_end|>",
  "<|quad_start|>",
  "<|quad_end|>",
  "<|vision_start|>",
  "<|vision_end|>",
  "<|vision_pad|>",
  "<|image_pad|>",
  "<|video_pad|>",
] as const;
const plainAddedTokens = [defaultTags.toolCall.open, defaultTags.toolCall.close];
/** Tokens that are recognised before anything is split. */
export const addedTokens: readonly string[] = [...controlTokens, ...plainAddedTokens];

/** Message by message as Qwen2.5-VL writes it; no system message is made up. */
export const chatTemplate = `{%- for message in messages -%}
{{ '<|im_start|>' + message.role + '\\n' }}
{%- if message.content is string -%}
{{ message.content }}
{%- else -%}
{%- for part in message.content -%}
{%- if part.type == 'image' -%}
{{ '<|vision_start|><|image_pad|><|vision_end|>' }}
{%- else -%}
{{ part.text }}
{%- endif -%}
{%- endfor -%}
{%- endif -%}
{{ '<|im_end|>\\n' }}
{%- endfor -%}
{%- if add_generation_prompt -%}
{{ '<|im_start|>assistant\\n' }}
{%- endif -%}
`;

/** The contents of `tokenizer.json`, and the id of every token. */
export function buildTokenizer(): { json: unknown; idOf: ReadonlyMap<string, number> } {
  const { tokens, merges } = trainBpe(trainingWords());
  const vocab = Object.fromEntries(tokens.map((token, id) => [token, id]));
  const added = addedTokens.map((content, i) => ({
    id: tokens.length + i,
    content,
    single_word: false,
    lstrip: false,
    rstrip: false,
    normalized: false,
    special: content.startsWith("<|"),
  }));
  const json = byteLevelBpe(vocab, merges, added);
  const ids: [string, number][] = [
    ...tokens.map((token, id): [string, number] => [token, id]),
    ...added.map(({ content, id }): [string, number] => [content, id]),
  ];
  return { json, idOf: new Map(ids) };
}

/** The contents of `tokenizer_config.json`. */
export function tokenizerConfig(): Record<string, unknown> {
  return {
    tokenizer_class: "Qwen2Tokenizer",
    add_bos_token: false,
    add_prefix_space: false,
    bos_token: null,
    eos_token: "<|im_end|>",
    pad_token: "<|endoftext|>",
    unk_token: null,
    additional_special_tokens: controlTokens.slice(1),
    clean_up_tokenization_spaces: false,
    split_special_tokens: false,
    errors: "replace",
    model_max_length: 4096,
    chat_template: chatTemplate,
  };
}

/** The words that are never merged across, in this language's regular expressions. */
export const splitPattern =
  /'(?:[sStTmMdD]|[rR][eE]|[vV][eE]|[lL][lL])|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+/gu;

/** Words that people put to a nano model besides its own. */
const otherWords =
  "yes no not I a an this that there are how many see look zoom in to with of and on the is it at object thing shape colour color digit number place point image picture crop question answer choices here relative from seen left right above below";

/** Every pre-token of the nano world's texts, once. */
function trainingWords(): string[] {
  const place = point("resized", 57, 83);
  const things = [{ name: "red star", place }];
  const call = { name: "search_coordinate", args: { coordinate: [57, 83] } };
  const texts = [
    ...[...colourNames, ...shapeNames, ...relations, ...otherWords.split(" ")].flatMap((word) => [
      word,
      ` ${word}`,
    ]),
    searchQuestion("red star"),
    relationQuestion("red star", "blue heart"),
    clickQuestion("red star"),
    placeQuestion("red star"),
    thingQuestion(place),
    digitQuestion,
    signQuestion,
    shapeQuestion("star"),
    findQuestion(7),
    compareQuestion("red star", "blue heart"),
    chaseQuestion("red star"),
    `?\n${noToolSuffix}`,
    formatTurn({ think: lookThought(things), toolCall: call }),
    formatTurn({ think: markThought(7), answer: "7" }),
    formatTurn({ think: `${markThought("heart")} ${correction}`, answer: noneAnswer }),
    formatTurn({ think: lookThought(things), answer: "right" }, "block"),
    formatTurn({ think: lookThought(things), answer: "(57, 83)" }),
    `${defaultTags.observation.open}\n`,
    `\n${defaultTags.observation.close}`,
    ...["system", "user", "assistant"].map((role) => `${role}\n`),
    "Yes No What Which Where Is How many?\n",
  ];
  const pieces = texts.flatMap((text) =>
    addedTokens.reduce<string[]>(
      (parts, token) => parts.flatMap((part) => part.split(token)),
      [text],
    ),
  );
  return [...new Set(pieces.flatMap((piece) => piece.match(splitPattern) ?? []))];
}

/** Merges the commonest pair (first in code order among equals) until every word is one token. */
function trainBpe(words: readonly string[]): { tokens: string[]; merges: [string, string][] } {
  const alphabet = byteAlphabet();
  const tokens = [...alphabet].toSorted();
  const merges: [string, string][] = [];
  let parts = words.map((word) => Array.from(Buffer.from(word, "utf8"), (byte) => alphabet[byte]));
  for (;;) {
    const counts = new Map<string, number>();
    for (const word of parts)
      for (let i = 1; i < word.length; i++) {
        const pair = `${word[i - 1]}\n${word[i]}`;
        counts.set(pair, (counts.get(pair) ?? 0) + 1);
      }
    if (counts.size === 0) return { tokens, merges };
    const [[best]] = [...counts].toSorted(([a, n], [b, m]) => m - n || (a < b ? -1 : 1));
    const [left, right] = best.split("\n");
    merges.push([left, right]);
    if (!tokens.includes(left + right)) tokens.push(left + right);
    parts = parts.map((word) => mergePair(word, left, right));
  }
}

function mergePair(word: readonly string[], left: string, right: string): string[] {
  const out: string[] = [];
  for (let i = 0; i < word.length; i++) {
    const joins = word[i] === left && word[i + 1] === right;
    out.push(joins ? left + right : word[i]);
    if (joins) i++;
  }
  return out;
}

/** GPT-2's printable stand-in for each byte. */
function byteAlphabet(): string[] {
  const printable = (byte: number) =>
    (byte >= 33 && byte <= 126) || (byte >= 161 && byte <= 172) || byte >= 174;
  let next = 256;
  return Array.from({ length: 256 }, (_, byte) =>
    String.fromCodePoint(printable(byte) ? byte : next++),
  );
}
