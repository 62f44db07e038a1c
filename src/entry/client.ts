/**
 * `vigorl/client`: episodes with a model behind an OpenAI-compatible server. Loads no native code until
 * a picture is decoded.
 */
export { VigorlError } from "../core/errors.ts";
export { openRemoteSampler } from "../engine/openai/sampler.ts";
export type { Chunk, Sample, SampleParams, Sampler } from "../engine/types.ts";
export {
  episodeSettingsSchema,
  loadEpisodeConfig,
  type EpisodeConfig,
} from "../task/episode-config.ts";
export { runEpisode } from "../task/episode.ts";
export type { Trajectory } from "../task/trajectory.ts";
