/** What a model that a run trains will say it is for (`vigorl.json` in each checkpoint). */
import { mapBounded } from "./core/bounded.ts";
import { VigorlError } from "./core/errors.ts";
import { pictureFeatures, widened, type PictureFeatures } from "./image/features.ts";
import type { Recipe, TaskSet } from "./recipe.ts";
import { oddFeatures, readModelCard, wordsOf, type ModelCard } from "./task/model-card.ts";
import { loadImages, type TaskRecord } from "./task/record.ts";
import { spreadRecords } from "./task/records.ts";

/** The settings of a recipe that say how the model is spoken to. */
export function settingsOf(recipe: Recipe): ModelCard["settings"] {
  const { tools, dialect, thinking, episode, prompts, promptsNoTool, image, coordinates } = recipe;
  const { answerForm } = recipe;
  const { temperature, topP, topK } = recipe.eval;
  const spoken = {
    tools,
    dialect,
    thinking,
    episode,
    prompts,
    promptsNoTool,
    image,
    coordinates,
    answerForm,
  };
  return JSON.parse(
    JSON.stringify({ ...spoken, eval: { temperature, topP, topK } }),
  ) as ModelCard["settings"];
}

/**
 * What the model that it starts from says, with the settings of the run; without that, what it is
 * trained on.
 * @param folder of the model that it starts from
 */
export async function cardOfRun(
  verb: "sft" | "rl",
  recipe: Recipe,
  tasks: readonly TaskSet[],
  folder: string,
): Promise<ModelCard> {
  const before = await readModelCard(folder);
  const settings = settingsOf(recipe);
  const about = `Trained by vigorl ${verb} on ${tasks.map(({ task }) => task).join(", ")}.`;
  if (before !== null) return { ...(await withTasks(before, tasks, about)), settings };
  return { version: 1, about: about.slice(0, 1000), settings, examples: examplesOf(tasks) };
}

function examplesOf(tasks: readonly TaskSet[]): string[] {
  const questions = tasks.flatMap(({ records }) => [...records].map(({ question }) => question));
  return [...new Set(questions.filter(({ length }) => length <= 1000))].slice(0, NUM_EXAMPLES);
}

const NUM_EXAMPLES = 5;

/** A card that knows the words and pictures of what the model is trained on; the same where they are its own. */
async function withTasks(
  card: ModelCard,
  tasks: readonly TaskSet[],
  about: string,
): Promise<ModelCard> {
  const { words, pictures, examples } = card;
  const records = tasks.flatMap((set) => [...set.records]);
  const known = new Set(words);
  const added = [...new Set(records.flatMap(({ question }) => wordsOf(question)))].filter(
    (word) => !known.has(word),
  );
  const seen = pictures === undefined ? [] : await featuresOf(records);
  const odd = seen.filter((one) => oddFeatures(pictures?.ranges ?? {}, one).length > 0);
  const isNew = odd.length > MAX_ODD * seen.length;
  if ((words === undefined || added.length === 0) && !isNew) return card;
  const all = words && [...words, ...added].sort();
  const few = all !== undefined && all.length <= MAX_WORDS ? { words: all } : {};
  const { words: _, ...rest } = card;
  return {
    ...rest,
    ...few,
    about: card.about.endsWith(about) ? card.about : `${card.about} ${about}`.slice(0, 1000),
    examples: [...new Set([...examplesOf(tasks), ...examples])].slice(0, NUM_EXAMPLES),
    ...(pictures === undefined || !isNew
      ? {}
      : {
          pictures: {
            about: `${pictures.about}; those of ${tasks.map(({ task }) => task).join(", ")}`.slice(
              0,
              1000,
            ),
            ranges: widened(pictures.ranges, seen),
          },
        }),
  };
}

/** More words are no longer few. */
const MAX_WORDS = 2000;
/** This share of the pictures may lie outside of what a card says. */
const MAX_ODD = 0.1;
const NUM_PICTURES = 48;

async function featuresOf(records: readonly TaskRecord[]): Promise<PictureFeatures[]> {
  const some = spreadRecords(records, NUM_PICTURES);
  const images = await mapBounded(some, 4, undefined, async (record) =>
    loadImages(record).catch((error: unknown) => {
      // It is told and counted where it is asked about.
      if (error instanceof VigorlError) return [];
      throw error;
    }),
  );
  return images.flat().map(pictureFeatures);
}
