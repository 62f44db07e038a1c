/**
 * Questions with their true answers as examples. A template says what stands before the answer: nothing
 * (the baseline that warm starts on reasoning are held against, paper §5.2, "SFT direct"), a thought, a
 * thought that names the places of the record's evidence, or a tool call that looks at each of them. Tool calls are
 * carried out, so that what is imitated is what an episode shows.
 */
import { mapBounded } from "../core/bounded.ts";
import { VigorlError } from "../core/errors.ts";
import { renderChain } from "../search/render-chain.ts";
import { conversationToChunks } from "../task/conversation.ts";
import { templateTools, type EpisodeConfig } from "../task/episode-config.ts";
import { shownTruth, writtenTruth } from "../task/kinds.ts";
import type { EvidencePlace, TaskRecord } from "../task/record.ts";
import type { AnswerView, Transcript } from "../task/trajectory.ts";
import { openScene } from "../task/turn.ts";
import { formatTurn } from "../text/grammar.ts";
import { parsePoint } from "../text/points.ts";
import type { AnswersConfig } from "./answers-config.ts";

/** What stands before an answer. */
export type AnswerForm = Exclude<AnswersConfig["form"], "auto">;

export interface AnswerExamples {
  /** One a record, in their order. */
  readonly examples: Transcript[];
  /** How many have which form. */
  readonly forms: Readonly<Partial<Record<AnswerForm, number>>>;
}

/**
 * Writes the examples. `direct` asks for the answer alone where the form is `auto`.
 * @throws VigorlError("usage") for a form that the recipe or a record has nothing for, "input" for a
 *   broken image
 */
export async function answerExamples(
  records: readonly TaskRecord[],
  episode: EpisodeConfig,
  config: AnswersConfig,
  direct: boolean,
  signal?: AbortSignal,
): Promise<AnswerExamples> {
  const formFor = (record: TaskRecord) =>
    config.form === "auto" ? formOf(record, episode, direct) : config.form;
  const forms: Partial<Record<AnswerForm, number>> = {};
  for (const record of records) {
    const form = formFor(record);
    refuseForm(form, record, episode);
    forms[form] = (forms[form] ?? 0) + 1;
  }
  const examples = await mapBounded(records, 4, signal, async (record) => {
    const form = formFor(record);
    const { view } = await openScene(record, episode);
    const turns = turnsOf(form, record, view, episode, config);
    const chain = { id: record.id, turns, pictures: [], places: [], seen: null, detours: [] };
    const { messages, pictures } = await renderChain(chain, record, episode);
    const images = pictures.map(({ seen }) => seen);
    const chunks = conversationToChunks(episode.chat, messages, images, templateTools(episode));
    return { id: record.id, task: record.task ?? "", category: record.category ?? "", chunks };
  });
  return { examples, forms };
}

/** As much as recipe and record give. */
function formOf(record: TaskRecord, episode: EpisodeConfig, direct: boolean): AnswerForm {
  if (direct || episode.answerForm === "whole") return "bare";
  if (placesOf(record).length === 0) return "thought";
  return canLook(episode) ? "look" : "grounded";
}

function refuseForm(form: AnswerForm, record: TaskRecord, episode: EpisodeConfig): void {
  const refuse = (message: string, hint: string) => {
    throw new VigorlError("usage", `sft.answers.form is ${form}, but ${message}`, { hint });
  };
  if (form !== "bare" && episode.answerForm === "whole")
    refuse("answerForm is whole", "set answerForm to tagged, or the form to bare");
  if (form === "bare" && episode.tools.length > 0)
    refuse("the recipe offers tools", "set tools to {}, and prompts.style to direct");
  if ((form === "grounded" || form === "look") && placesOf(record).length === 0)
    refuse(
      `record ${record.id} has no evidence`,
      "give it places, or set the form to auto, which uses those that there are",
    );
  if (form === "look" && !canLook(episode))
    refuse("no tool looks at a point", "offer tools.zoom, and episode.maxTurns of 2 at least");
}

function turnsOf(
  form: AnswerForm,
  record: TaskRecord,
  view: AnswerView,
  episode: EpisodeConfig,
  { words, layout }: AnswersConfig,
): string[] {
  const { dialect } = episode;
  const truth = writtenTruth(record, view);
  const { answer } = dialect.tags;
  if (form === "bare")
    return [episode.answerForm === "whole" ? truth : `${answer.open} ${truth} ${answer.close}`];
  const says = (think: string, style: typeof layout) =>
    formatTurn({ think, answer: truth }, style, dialect);
  if (form === "thought") return [says(words.think, layout)];
  const places = placesOf(record).map((place) => writtenPlace(place, view));
  const looks = places.map((place) => words.look.replaceAll("{place}", place));
  if (form === "grounded") return [says(looks.join(" "), layout)];
  const looker = lookerOf(episode)!;
  const calls = looks.slice(0, maxLooks(episode)).map((think, i) => {
    const toolCall = looker.lookAt!(...pointOf(places[i]));
    return formatTurn({ think, toolCall }, "inline", dialect);
  });
  return [...calls, says(words.seen, "inline")];
}

/** Where the answer can be read: the record's evidence, or the region that it asks for. */
function placesOf(record: TaskRecord): readonly EvidencePlace[] {
  const { box } = shownTruth(record);
  return record.evidence ?? (box === undefined ? [] : [{ box }]);
}

/** The middle of a place, as the model writes it. */
function writtenPlace(place: EvidencePlace, view: AnswerView): string {
  const answer = "box" in place ? { box: place.box } : { point: place.point, radius: 0 };
  return writtenTruth({ kind: "point", answer }, view);
}

function pointOf(written: string): [x: number, y: number] {
  const at = parsePoint(written);
  if (at === null) throw new Error(`${written} is no point`);
  return [at.x, at.y];
}

/** The first tool that looks at a point. */
function lookerOf({ tools }: EpisodeConfig) {
  return tools.find((tool) => tool.lookAt !== undefined);
}

function maxLooks({ limits }: EpisodeConfig): number {
  return Math.min(limits.maxTurns - 1, limits.maxToolImages);
}

function canLook(episode: EpisodeConfig): boolean {
  return lookerOf(episode) !== undefined && maxLooks(episode) > 0;
}
