/**
 * A teacher that says what a hash of the path and of how often it was asked picks from its words, so
 * that the published search and ours hear the same: oracle.py has its twin.
 */
import { chat } from "../../src/task/fixtures/scene.ts";
import { ScriptedSampler } from "../../src/task/fixtures/scripted-sampler.ts";
import type { Capabilities, Chunk, Sample, SampleParams, Sampler } from "../../src/engine/types.ts";

export interface Words {
  readonly thoughts: readonly string[];
  readonly answers: readonly string[];
  /** Of a hundred replies, how many answer. */
  readonly share: number;
  /** Replies to the request for an answer. */
  readonly forced: readonly string[];
}

/** Prompts in which the path can be found again. */
export const tracedPrompts = {
  system: null,
  previousThought: "⟦{text}⟧",
  finish: "⟪end⟫",
};

export class ScriptedTeacher implements Sampler {
  readonly capabilities: Capabilities = new ScriptedSampler(chat.tokenizer, []).capabilities;
  private readonly words: Words;
  private readonly asked = new Map<string, number>();

  constructor(words: Words) {
    this.words = words;
  }

  async sample(prompt: readonly Chunk[], params: SampleParams): Promise<Sample> {
    const tokens = prompt.flatMap((chunk) => (chunk.type === "text" ? chunk.tokens : []));
    const text = chat.tokenizer.decode(tokens, { skipSpecial: true });
    // A thought is told without its tags, which the published prompt keeps in the path.
    const told = Array.from(text.matchAll(/⟦([^⟧]*)⟧/g), ([, said]) => said);
    const isForced = text.includes(tracedPrompts.finish);
    const path = [...told, String(Number(isForced))].join("\u001f");
    const count = (this.asked.get(path) ?? 0) + 1;
    this.asked.set(path, count);
    const line = replyTo(`${path}\u001f${count}`, isForced, this.words);
    return new ScriptedSampler(chat.tokenizer, [line]).sample(prompt, params);
  }

  close(): Promise<void> {
    return Promise.resolve();
  }
}

function replyTo(key: string, isForced: boolean, words: Words): string {
  const pick = fnv1a(key);
  const isAnswer = (pick >>> 8) % 100 < words.share;
  const said = isForced ? words.forced : isAnswer ? words.answers : words.thoughts;
  return said[pick % said.length];
}

function fnv1a(text: string): number {
  let value = 0x811c9dc5;
  for (const byte of new TextEncoder().encode(text)) value = Math.imul(value ^ byte, 0x01000193);
  return value >>> 0;
}
