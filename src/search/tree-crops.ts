/** What tools showed in a tree, cut once more from the pictures of its question: a tree keeps no pixels. */
import { encodePng } from "../image/decode.ts";
import { cutBox } from "../image/crop.ts";
import { box } from "../image/frames.ts";
import { resize } from "../image/resize.ts";
import { loadImages, type TaskRecord } from "../task/record.ts";
import type { NodeLine, TreeLine } from "./tree-line.ts";

/**
 * Small copies of the crops, as data URLs by the hash of the picture that the tool returned.
 * @throws VigorlError("input") where a picture of the question is missing or broken
 */
export async function treeCrops(tree: TreeLine, record: TaskRecord): Promise<Map<string, string>> {
  const images = await loadImages(record);
  const crops = new Map<string, string>();
  const add = async ({ step, children }: NodeLine): Promise<void> => {
    const { picture = null } = step ?? {};
    if (picture !== null && !crops.has(picture.imageHash)) {
      const [x0, y0, x1, y1] = picture.box.map(Math.round);
      const whole = box("original", x0, y0, Math.max(x1, x0 + 1), Math.max(y1, y0 + 1));
      const part = cutBox(images[picture.of], whole);
      const png = await encodePng(resize(part, { widthPx: SIDE, heightPx: SIDE }, "bicubic"));
      const text = Buffer.from(png).toString("base64");
      crops.set(picture.imageHash, `data:image/png;base64,${text}`);
    }
    for (const child of children) await add(child);
  };
  await add(tree.root);
  return crops;
}

const SIDE = 80;
