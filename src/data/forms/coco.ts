/**
 * COCO's annotations as questions: where the one thing of its category is (a point in its box), or how
 * many there are of a category. Things that stand for a crowd, and categories of which an image has
 * several where one place is asked for, are left out and counted.
 */
import { z } from "zod";
import type { Draft, Unread } from "./form.ts";

export const cocoQuestions = ["click", "count"] as const;
export type CocoQuestion = (typeof cocoQuestions)[number];

const id = z.union([z.number(), z.string()]);
/** What is read of a file; what else it says is the datasets' own. */
export const cocoSchema = z.looseObject({
  images: z.array(z.looseObject({ id, file_name: z.string().min(1) })),
  annotations: z.array(
    z.looseObject({
      id: id.optional(),
      image_id: id,
      category_id: id,
      bbox: z.tuple([z.number(), z.number(), z.number(), z.number()]).optional(),
      iscrowd: z.union([z.number(), z.boolean()]).optional(),
    }),
  ),
  categories: z.array(z.looseObject({ id, name: z.string().min(1) })),
});
type Coco = z.output<typeof cocoSchema>;
type Annotation = Coco["annotations"][number];

/** A question an image and category, or the reason why there is none. */
export function* readCoco(coco: Coco, ask: CocoQuestion): Generator<Draft | Unread> {
  const names = new Map(coco.categories.map((one) => [one.id, one.name]));
  const byImage = new Map<Annotation["image_id"], Map<Annotation["category_id"], Annotation[]>>();
  for (const annotation of coco.annotations) {
    const things = byImage.get(annotation.image_id) ?? new Map<typeof annotation.category_id, []>();
    things.set(annotation.category_id, [...(things.get(annotation.category_id) ?? []), annotation]);
    byImage.set(annotation.image_id, things);
  }
  for (const image of coco.images) {
    const things = byImage.get(image.id);
    byImage.delete(image.id);
    if (things === undefined) yield { reason: "an image without annotations" };
    for (const [category, annotations] of things ?? []) {
      const name = names.get(category);
      if (name === undefined) yield { reason: "a category that the file does not name" };
      else yield questionOf(image, name, annotations, ask);
    }
  }
  for (const things of byImage.values())
    for (let i = 0; i < things.size; i++) yield { reason: "an image that the file does not list" };
}

function questionOf(
  image: Coco["images"][number],
  name: string,
  annotations: readonly Annotation[],
  ask: CocoQuestion,
): Draft | Unread {
  if (annotations.some(({ iscrowd }) => Boolean(iscrowd))) return { reason: "a crowd" };
  const common = { id: `${image.id}-${name}`, images: [image.file_name], category: name };
  const boxes = annotations.flatMap(({ bbox }) => (bbox === undefined ? [] : [halfOpen(bbox)]));
  const isWhole = boxes.length === annotations.length;
  if (ask === "count") {
    const evidence = isWhole ? { evidence: boxes.map((box) => ({ box })) } : {};
    const question = `How many things of the category "${name}" are there?`;
    return { ...common, kind: "number", question, answer: String(annotations.length), ...evidence };
  }
  if (!isWhole) return { reason: "an annotation without a box" };
  if (boxes.length > 1) return { reason: "several things of one category, so no place is the one" };
  return { ...common, kind: "point", question: `Click on the ${name}.`, answer: { box: boxes[0] } };
}

/** From corner, width and height. */
function halfOpen([x, y, width, height]: readonly [number, number, number, number]) {
  return [x, y, x + width, y + height] as const;
}
