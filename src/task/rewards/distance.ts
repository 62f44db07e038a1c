/**
 * How near the answer's point comes to the middle of the truth: exp(−0.01 · d), the paper's Euclidean
 * ablation (table A9).
 * differs: the paper leaves the frame open; d is in pixels of the image as the model sees it. Kinds
 * that do not point get whether they are right.
 */
import { kindOf, shownTruth } from "../kinds.ts";
import { answer } from "./answer.ts";
import type { RewardTerm } from "./term.ts";

export const distance: RewardTerm = {
  about: "nearness of the answer's point to the middle of the truth, exp(−0.01 · pixels)",
  ours: (episode, record, form) => {
    const { place } = kindOf(record.kind);
    const { box } = shownTruth(record);
    if (place === undefined || box === undefined) return answer.ours(episode, record, form);
    const { view } = episode;
    const at = episode.answer === null ? null : place(episode.answer, view);
    if (at === null) return 0;
    const scaleX = view === null ? 1 : view.resized.widthPx / view.original.widthPx;
    const scaleY = view === null ? 1 : view.resized.heightPx / view.original.heightPx;
    const [x0, y0, x1, y1] = box;
    return Math.exp(
      -0.01 * Math.hypot((at.x - (x0 + x1) / 2) * scaleX, (at.y - (y0 + y1) / 2) * scaleY),
    );
  },
};
