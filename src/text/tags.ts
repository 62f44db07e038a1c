/** The tags that mark the blocks of a turn. */

export interface TagPair {
  readonly open: string;
  readonly close: string;
}

export type BlockKind = "think" | "answer" | "toolCall" | "observation";

/** How each block is marked. */
export type Tags = Readonly<Record<BlockKind, TagPair>>;

export const defaultTags: Tags = {
  think: { open: "<think>", close: "</think>" },
  answer: { open: "<answer>", close: "</answer>" },
  toolCall: { open: "<tool_call>", close: "</tool_call>" },
  observation: { open: "<observation>", close: "</observation>" },
};
