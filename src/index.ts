/** The public API: what a program needs to run, train and evaluate. Rooms hold the rest. */
export { ask, openModel, type ModelOptions, type OpenModel, type Picture } from "./ask.ts";
export { loadConfig, type Override } from "./core/config.ts";
export { describeError, exitCode, VigorlError, type ErrorCode } from "./core/errors.ts";
export { createRunFolder, openRunFolder, RunFolder } from "./core/run-folder.ts";
export { bootstrapDifference, mcNemar, wilsonInterval } from "./core/statistics.ts";
export { openDataset, readDataset } from "./data/dataset.ts";
export { writeDataset } from "./data/write.ts";
export { openLocalEngine, type LocalEngine } from "./engine/local/client.ts";
export { engineSchema, openLearner, openSampler, type EngineConfig } from "./engine/open.ts";
export { openRemoteSampler } from "./engine/openai/sampler.ts";
export type {
  Chunk,
  Datum,
  Learner,
  Loss,
  OptimParams,
  Sample,
  Sampler,
  SampleParams,
} from "./engine/types.ts";
export { conditionTable, type Condition } from "./eval/controls.ts";
export { armOf, compareArms } from "./eval/count.ts";
export { evaluate, type Evaluation } from "./eval/evaluate.ts";
export { writeReport } from "./eval/report-files.ts";
export { reportMarkdown, reportText, type Arm, type Report } from "./eval/report.ts";
export { decodeImage, encodePng, type RgbImage } from "./image/decode.ts";
export { annotate } from "./image/draw.ts";
export * from "./image/frames.ts";
export { runPipeline, runEvaluation } from "./pipeline.ts";
export { loadRecipe, loadTasks, type Recipe } from "./recipe.ts";
export { createApp, type AppOptions } from "./serve/app.ts";
export { startServer, type RunningServer } from "./serve/server.ts";
export {
  episodeSettingsSchema,
  loadEpisodeConfig,
  type EpisodeConfig,
} from "./task/episode-config.ts";
export { behavioursOf, type BehaviourCounts, type BehaviourRules } from "./task/behaviours.ts";
export { runEpisode } from "./task/episode.ts";
export type { OwnImage, OwnRecord, OwnTaskOptions, TaskFunction } from "./data/own-task.ts";
export { judge } from "./task/judge.ts";
export { readModelCard, type ModelCard } from "./task/model-card.ts";
export { answerJson, type Answer, type QuestionOptions } from "./task/question.ts";
export type { JudgedIn, JudgeFunction } from "./task/own-judge.ts";
export type { OwnReward, RewardFunction } from "./task/own-reward.ts";
export { loadImages, type TaskRecord } from "./task/record.ts";
export { rewardConfigSchema, scoreEpisode, type Reward } from "./task/reward.ts";
export { readTraces, toTrace, TraceWriter, type Trace } from "./task/trace.ts";
export { blank, elsewhere, none, type ToolControl } from "./task/tools/controls.ts";
export { makeTools, toolsSchema } from "./task/tools/table.ts";
export type { OwnPicture, OwnResult, OwnScene, OwnTool } from "./task/tools/own-tool.ts";
export type { Tool, ToolKind, ToolUse } from "./task/tools/tool.ts";
export { episodeToDatum, type Trajectory } from "./task/trajectory.ts";
export { collectExamples } from "./train/collect.ts";
export { trainRl } from "./train/grpo.ts";
export { trainSft } from "./train/sft.ts";
