/** Pictures of a step's episodes for the sinks that show them: a name a place in the step's list. */
import type { RunFolder } from "../core/run-folder.ts";
import { encodePng } from "../image/decode.ts";
import { shrinkTo } from "../image/resize.ts";
import { drawEpisode } from "../task/draw-episode.ts";
import { loadImages } from "../task/record.ts";
import type { ScoredEpisode } from "./rollouts.ts";

/** Longest side of such a picture. */
const pictureSidePx = 640;

/** Shows each episode's first image with its points and tool uses; those without images are left out. */
export async function showEpisodes(
  run: RunFolder,
  step: number,
  scored: readonly Pick<ScoredEpisode, "record" | "episode">[],
): Promise<void> {
  for (const [place, { record, episode }] of scored.entries()) {
    if (episode.view === null) continue;
    const [image] = await loadImages(record);
    const drawn = shrinkTo(drawEpisode(image, episode), pictureSidePx);
    const { widthPx, heightPx } = drawn;
    const png = await encodePng(drawn);
    await run.showPicture({ step, name: `episodes/${place}`, png, widthPx, heightPx });
  }
}
