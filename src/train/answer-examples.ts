/**
 * Questions with their true answers as examples, without a thought: the baseline that warm starts on
 * reasoning are held against (paper §5.2, "SFT direct"). The answer stands in the recipe's own form:
 * alone where it takes whole replies, else between the tags.
 */
import { mapBounded } from "../core/bounded.ts";
import { VigorlError } from "../core/errors.ts";
import { conversationToChunks } from "../task/conversation.ts";
import type { EpisodeConfig } from "../task/episode-config.ts";
import { writtenTruth } from "../task/kinds.ts";
import { promptMessages } from "../task/prompt.ts";
import type { TaskRecord } from "../task/record.ts";
import type { Transcript } from "../task/trajectory.ts";
import { openScene } from "../task/turn.ts";

/**
 * One example a record, in their order.
 * @throws VigorlError("usage") where the recipe offers tools, "input" for a broken image.
 */
export async function answerExamples(
  records: readonly TaskRecord[],
  episode: EpisodeConfig,
  signal?: AbortSignal,
): Promise<Transcript[]> {
  if (episode.tools.length > 0) {
    throw new VigorlError("usage", "sft.from is answers, but the recipe offers tools", {
      hint: "answers are single turns: set tools to {}, and prompts.style to direct",
    });
  }
  return mapBounded(records, 4, signal, async (record) => {
    const { pictures, view } = await openScene(record, episode);
    const messages = promptMessages(record, episode.promptsFor(record.kind));
    const truth = writtenTruth(record, view);
    const { answer } = episode.dialect.tags;
    const content =
      episode.answerForm === "whole" ? truth : `${answer.open} ${truth} ${answer.close}`;
    const said = [...messages, { role: "assistant", content } as const];
    const images = pictures.map(({ seen }) => seen);
    const chunks = conversationToChunks(episode.chat, said, images);
    return { id: record.id, task: record.task ?? "", category: record.category ?? "", chunks };
  });
}
