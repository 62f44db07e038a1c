/** Writes a study: items and pictures in a folder for people, the key beside it. */
import { existsSync } from "node:fs";
import { basename, dirname, join } from "node:path";
import { VigorlError } from "../../core/errors.ts";
import { replaceFolderAtomic, writeFileAtomic } from "../../core/files.ts";
import { inside } from "../../core/inside.ts";
import { writeJsonl } from "../../core/jsonl.ts";
import { encodePng, type RgbImage } from "../../image/decode.ts";
import type { Place } from "../../image/draw.ts";
import { planItems, type GroundedSentence } from "./choose.ts";
import { shownPicture, withCircle } from "./draw.ts";
import {
  instructions,
  questions,
  type KeyLine,
  type StudyCondition,
  type StudyFile,
  type StudyItem,
} from "./files.ts";

/** A chosen sentence with the run that it comes from, and its picture. */
export interface StudySentence {
  readonly sentence: GroundedSentence;
  readonly run: string;
  /** The picture, and the point in its pixels. */
  readonly picture: () => Promise<{ readonly image: RgbImage; readonly at: Place }>;
}

export interface ExportOptions {
  readonly out: string;
  readonly seed: number;
  readonly conditions: readonly StudyCondition[];
  readonly circlePx: number;
  /** Longest side of a picture. */
  readonly sidePx: number;
  readonly signal: AbortSignal;
  readonly onItem?: (done: number) => void;
}

/** Where the key of a study lies. */
export function keyFileOf(out: string): string {
  return join(dirname(out), `${basename(out)}.key.jsonl`);
}

/** @throws VigorlError("usage") where something is there already: it may be a study that people rate */
export function refuseExisting(out: string): void {
  for (const path of [out, keyFileOf(out)])
    if (existsSync(path))
      throw new VigorlError("usage", `${path}: is there already`, {
        hint: "choose another --out, or remove it where nobody rates this study",
      });
}

/** Writes items.jsonl, study.json and images/ into `out`, and the key beside it. Returns the key's lines. */
export async function writeStudy(
  chosen: readonly StudySentence[],
  { out, seed, conditions, circlePx, sidePx, signal, onItem }: ExportOptions,
): Promise<KeyLine[]> {
  refuseExisting(out);
  const planned = planItems(
    chosen.map(({ sentence }) => sentence),
    conditions,
    seed,
  );
  const key: KeyLine[] = [];
  await replaceFolderAtomic(out, async (folder) => {
    const items: StudyItem[] = [];
    for (const { sentence: number, ...item } of planned) {
      signal.throwIfAborted();
      const { sentence, run, picture } = chosen[number];
      const { image, at } = await picture();
      const shown = shownPicture(image, at, sidePx);
      const drawn = item.condition === "marked" ? withCircle(shown, circlePx) : shown.image;
      const file = `images/${item.id}.png`;
      const bytes = await encodePng(drawn);
      await writeFileAtomic(inside(folder, "images", `${item.id}.png`), bytes);
      items.push({ version: 1, ...item, image: file });
      const { recordId, task, group, turn, text, isRight } = sentence;
      const place = { point: { x: at.x, y: at.y }, shown: { x: shown.at.x, y: shown.at.y } };
      const { id, condition } = item;
      const head = { version: 1, id, sentence: number, condition, run, task, group } as const;
      key.push({ ...head, recordId, turn, written: text, ...place, isRight });
      onItem?.(items.length);
    }
    await writeJsonl(inside(folder, "items.jsonl"), items);
    const numOf = (form: string) => items.filter((item) => item.form === form).length;
    const forms = [...new Set(items.map(({ form }) => form))];
    const study: StudyFile = {
      version: 1,
      seed,
      instructions,
      questions,
      circlePx,
      forms: Object.fromEntries(forms.map((form) => [form, numOf(form)])),
    };
    await writeFileAtomic(inside(folder, "study.json"), `${JSON.stringify(study, null, 2)}\n`);
    // The key comes first: without it the folder says nothing.
    key.sort((a, b) => a.sentence - b.sentence || (a.condition < b.condition ? -1 : 1));
    await writeJsonl(keyFileOf(out), key);
  });
  return key;
}
