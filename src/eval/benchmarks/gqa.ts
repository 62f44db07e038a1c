/** GQA: questions made from scene graphs, answered by a word. Questions and pictures are two tables. */
import { z } from "zod";
import { VigorlError } from "../../core/errors.ts";
import { parquetRows } from "../../data/rows/parquet-rows.ts";
import type { ImageSource } from "../../task/record.ts";
import type { Benchmark, FindFiles, Layout, Protocol } from "./benchmark.ts";
import { micro } from "./figures.ts";
import { goldText, readAs, said } from "./judging.ts";
import { cellsOf } from "./load.ts";
import { bare, harnessPixels, ours, vigorl } from "./protocols.ts";
import { withoutAsciiPunctuation } from "./rules/words.ts";

const cells = z.object({
  id: z.string(),
  imageId: z.string(),
  question: z.string(),
  answer: z.string(),
  types: z.object({ structural: z.string() }).nullish(),
});

const layout: Layout = {
  name: "Parquet, a folder of questions and one of pictures",
  format: "parquet",
  files: () => /(?:^|\/)testdev_balanced_instructions\/[^/]*\.parquet$/,
  read: async (row, { side }) => {
    const { id, imageId, question, answer, types } = cellsOf(row, cells);
    const image = (await side("pictures", readPictures)).get(imageId);
    if (image === undefined)
      throw new VigorlError("input", `${row.place}: its picture ${imageId} is in no table`, {
        hint: "testdev_balanced_images/*.parquet belongs beside the questions",
      });
    const category = types?.structural;
    return {
      record: {
        id: `gqa-${id}`,
        images: [image],
        question,
        kind: "text",
        answer,
        ...(category === undefined ? {} : { category }),
      },
    };
  },
};

async function readPictures(find: FindFiles): Promise<Map<string, ImageSource>> {
  const pictures = new Map<string, ImageSource>();
  for (const file of find(/(?:^|\/)testdev_balanced_images\/[^/]*\.parquet$/))
    for await (const row of parquetRows(file, { image: "one" }))
      pictures.set(cellsOf(row, z.object({ id: z.string() })).id, row.pictures("image")[0]);
  return pictures;
}

function equal(plain: (text: string) => string): Protocol["judge"] {
  return (record, reply) => {
    const text = plain(said(reply));
    return readAs(text, text === plain(goldText(record)));
  };
}

const question = ({ question: text }: { question: string }) =>
  `${text}\nAnswer the question using a single word or phrase.`;
const figures = micro();

export const gqa: Benchmark = {
  name: "gqa",
  title: "GQA",
  asks: "things, attributes and relations in photographs, in a word",
  licence: "MIT",
  sources: ["hub: lmms-lab/GQA"],
  hub: {
    repo: "lmms-lab/GQA",
    files: () => /^testdev_balanced_(?:instructions|images)\/.*\.parquet$/,
  },
  questions: null,
  metric: "accuracy over all questions",
  splits: ["testdev_balanced"],
  layouts: [layout],
  protocols: {
    ours: ours(figures),
    vigorl: vigorl("spatial", figures),
    "lmms-eval": {
      about: "equal, case and punctuation aside; blanks count",
      prompt: bare(question),
      pixels: harnessPixels["lmms-eval"],
      judge: equal((text) => withoutAsciiPunctuation(text.toLowerCase())),
      figures,
    },
    vlmevalkit: {
      about: "equal, case and outer blanks aside; punctuation counts",
      prompt: bare(question),
      pixels: harnessPixels.vlmevalkit,
      judge: equal((text) => text.trim().toLowerCase()),
      figures,
    },
  },
  published: [],
  notes: [
    "Consistency, validity, plausibility and distribution, as its authors measure them, are left out.",
  ],
};
