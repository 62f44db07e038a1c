/**
 * How often pictures of a training set are taken for those of an evaluation, and how often changed copies
 * are: `npm run bench -- leaks [pictures]`. Scenes of the small world, and discs on a slope.
 */
import { PictureIndex, SourcePicture } from "../src/eval/leaks/pictures.ts";
import { decodeImage, encodeJpeg, type RgbImage } from "../src/image/decode.ts";
import { cutBox } from "../src/image/crop.ts";
import { box } from "../src/image/frames.ts";
import { resize } from "../src/image/resize.ts";
import { stream } from "../src/core/random.ts";
import { nanoRecords } from "../src/nano/tasks.ts";
import { loadImages } from "../src/task/record.ts";

const count = Number(process.argv[2] ?? 100);
const rng = stream(1, "leaks");

function discs(seed: number): RgbImage {
  const draw = stream(seed, "discs");
  const [widthPx, heightPx] = [320, 240];
  const all = Array.from({ length: 14 }, () => ({
    x: draw.float() * widthPx,
    y: draw.float() * heightPx,
    r: draw.uniform(10, 60),
    colour: [draw.int(0, 255), draw.int(0, 255), draw.int(0, 255)],
  }));
  const data = new Uint8Array(widthPx * heightPx * 3);
  for (let y = 0; y < heightPx; y++)
    for (let x = 0; x < widthPx; x++) {
      const on = all.findLast((one) => Math.hypot(x - one.x, y - one.y) < one.r);
      data.set(
        on?.colour ?? [(x * 200) / widthPx, 90, (y * 200) / heightPx],
        3 * (y * widthPx + x),
      );
    }
  return { widthPx, heightPx, data };
}

/** Each edge loses up to a share of its side. */
function cut(image: RgbImage, most: number): RgbImage {
  const lost = () => rng.float() * most;
  const [x0, x1] = [lost() * image.widthPx, (1 - lost()) * image.widthPx].map(Math.round);
  const [y0, y1] = [lost() * image.heightPx, (1 - lost()) * image.heightPx].map(Math.round);
  return cutBox(image, box("original", x0, y0, x1, y1));
}

const half = ({ widthPx, heightPx }: RgbImage) => ({
  widthPx: Math.round(widthPx / 2),
  heightPx: Math.round(heightPx / 2),
});
const jpeg = async (image: RgbImage, quality: number) =>
  decodeImage(await encodeJpeg(image, quality));
const changes: Readonly<Record<string, (image: RgbImage) => Promise<RgbImage>>> = {
  "JPEG of quality 30": (image) => jpeg(image, 30),
  "half its size": (image) => Promise.resolve(resize(image, half(image), "bicubic")),
  "each edge cut by up to 5 %": (image) => Promise.resolve(cut(image, 0.05)),
  "each edge cut by up to 10 %": (image) => Promise.resolve(cut(image, 0.1)),
  "each edge cut by up to 20 %": (image) => Promise.resolve(cut(image, 0.2)),
  "cut by up to 15 %, halved, JPEG of quality 60": async (image) => {
    const small = cut(image, 0.15);
    return jpeg(resize(small, half(small), "bilinear"), 60);
  },
};

const scenes = async (split: "train" | "heldout") =>
  Promise.all(
    nanoRecords({ task: "search", split, count, seed: 1 }).map(
      async (record) => (await loadImages(record))[0],
    ),
  );
const kinds: Readonly<Record<string, readonly [held: RgbImage[], train: RgbImage[]]>> = {
  scenes: [await scenes("heldout"), await scenes("train")],
  discs: [0, count].map((from) => Array.from({ length: count }, (_, i) => discs(from + i))) as [
    RgbImage[],
    RgbImage[],
  ],
};

const drawn = (image: RgbImage) =>
  new SourcePicture({ kind: "render", name: "picture", render: () => image }, "picture");
for (const [kind, [held, train]] of Object.entries(kinds)) {
  const index = new PictureIndex("pixels");
  for (const image of held) await index.add(drawn(image));
  const start = performance.now();
  let alarms = 0;
  for (const image of train) alarms += (await index.find(drawn(image)))?.length ?? 0;
  const ms = (performance.now() - start) / train.length;
  console.log(
    `${kind}: ${alarms} false alarms in ${held.length * train.length} pairs; ${ms.toFixed(0)} ms a training picture`,
  );
  for (const [name, change] of Object.entries(changes)) {
    let found = 0;
    for (const [i, image] of held.entries())
      if ((await index.find(drawn(await change(image))))?.some(({ picture }) => picture === i))
        found++;
    console.log(`${kind}: ${name}: ${found} of ${held.length} found`);
  }
}
