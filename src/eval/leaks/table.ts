/** What a comparison with a training set found, for a terminal and in a sentence. */
import { textTable } from "../../core/plain-text.ts";
import { grouped } from "../spent.ts";
import type { Leak, Leaks } from "./find.ts";

/** Rows that a terminal shows. */
const MOST_ROWS = 40;

const header = [
  "task",
  "question",
  "what",
  "training question",
  "where",
  "picture",
  "words",
  "more",
];

/** Each leaked question with the training question that is nearest to it. */
export function leakTable({ leaks }: Leaks): string[] {
  if (leaks.length === 0) return [];
  const shown = leaks.slice(0, MOST_ROWS).map(leakRow);
  const more = leaks.length - shown.length;
  return [
    ...textTable([header, ...shown], 5, [24, 32, 8, 32, 48]),
    ...(more === 0 ? [] : [`and ${grouped(more)} more`]),
  ];
}

function leakRow({ task, id, what, partner, picture, words, partners }: Leak): string[] {
  const correlation = picture?.correlation.toFixed(2) ?? "";
  return [
    task,
    id,
    what,
    partner.id,
    partner.place,
    picture === null
      ? ""
      : picture.how === "file" || picture.how === "pixels"
        ? `same ${picture.how}`
        : `${picture.how} ${correlation}`,
    words === null ? "" : words.similarity === 1 ? "same" : words.similarity.toFixed(2),
    partners === 1 ? "" : `+${partners - 1}`,
  ];
}

/** What was compared, what was found, and what could not be compared: sentences. */
export function leakLines(found: Leaks): string[] {
  const { leaks, asked, trained, pictures, trainedPictures, depth } = found;
  const of = (what: Leak["what"]) => leaks.filter((leak) => leak.what === what).length;
  const kinds = [
    [of("question"), "by picture and words"],
    [of("picture"), "by picture alone"],
    [of("words"), "by words alone"],
  ] as const;
  const parts = kinds.filter(([count]) => count > 0).map(([count, how]) => `${count} ${how}`);
  const by = depth === "pixels" ? "files, pixels, near pictures" : "files";
  return [
    `${grouped(asked)} questions and ${grouped(pictures)} pictures of the evaluation against ${grouped(trained)} questions and ${grouped(trainedPictures)} pictures of the training set, by ${by} and words: ${
      leaks.length === 0
        ? "none occurs in it"
        : `${grouped(leaks.length)} occur in it, ${parts.join(", ")}`
    }`,
    ...(found.commonWords === 0
      ? []
      : [
          `${grouped(found.commonWords)} questions share their words alone with training questions about several other pictures or with another answer, which is no leak`,
        ]),
    ...(found.drawn === 0
      ? []
      : [`${grouped(found.drawn)} pictures are drawn and have no file to compare`]),
    ...(found.unread === null
      ? []
      : [`${grouped(found.unread.count)} pictures could not be read: ${found.unread.first}`]),
    ...(found.cappedWords === 0
      ? []
      : [
          `${grouped(found.cappedWords)} training questions are worded so much like others that not all of those were compared`,
        ]),
  ];
}
