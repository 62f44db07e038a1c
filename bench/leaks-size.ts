/**
 * A leak check at size: `npm run bench -- leaks-size [questions] [training] [small]`. An evaluation of
 * `questions` (30,000), each about a picture of its own, against `training` (100,000) questions about
 * other pictures; one training question in a hundred has a picture of the evaluation, halved, and its
 * words. Prints the processor time of both sides, what was found, and the peak of memory beside that of `small`
 * questions against as many. Ends with 1 where a copy is missed or another picture is taken for one.
 */
import { readFileSync } from "node:fs";
import { stream } from "../src/core/random.ts";
import { findLeaks } from "../src/eval/leaks/find.ts";
import type { RgbImage } from "../src/image/decode.ts";
import { resize } from "../src/image/resize.ts";
import type { PlacedRecord, TaskRecord } from "../src/task/record.ts";

const [questions = 30_000, training = 100_000, small = 300] = process.argv.slice(2).map(Number);
/** One in so many training questions is one of the evaluation. */
const COPY_EVERY = 100;
const size = { widthPx: 96, heightPx: 72 };
const half = { widthPx: 48, heightPx: 36 };

/** Rectangles on a slope. */
function picture(seed: number): RgbImage {
  const rng = stream(seed, "leaks-size");
  const { widthPx, heightPx } = size;
  const data = new Uint8Array(3 * widthPx * heightPx);
  const [right, down] = [rng.int(-60, 60), rng.int(-60, 60)];
  for (let y = 0; y < heightPx; y++)
    for (let x = 0; x < widthPx; x++) {
      const grey = 128 + (right * x) / widthPx + (down * y) / heightPx;
      data.fill(grey, 3 * (y * widthPx + x), 3 * (y * widthPx + x + 1));
    }
  for (let i = 0; i < 60; i++) {
    const [x0, y0] = [rng.int(0, widthPx - 8), rng.int(0, heightPx - 8)];
    const [x1, y1] = [
      Math.min(widthPx, x0 + rng.int(6, 26)),
      Math.min(heightPx, y0 + rng.int(6, 26)),
    ];
    const colour = [rng.int(0, 255), rng.int(0, 255), rng.int(0, 255)];
    for (let y = y0; y < y1; y++)
      for (let x = x0; x < x1; x++) data.set(colour, 3 * (y * widthPx + x));
  }
  return { widthPx, heightPx, data };
}

const vowels = "aeiou";
const consonants = "bdfgklmnprst";
/** A word of an invented language. */
function word(number: number): string {
  let text = "";
  for (let left = number + 60; left > 0; left = Math.floor(left / 60))
    text += consonants[left % 12] + vowels[Math.floor(left / 12) % 5];
  return text;
}

function question(seed: number): string {
  const rng = stream(seed, "leaks-words");
  const words = Array.from({ length: rng.int(6, 14) }, () => word(rng.int(0, 1999)));
  return `Where is ${words.join(" ")}?`;
}

function record(id: string, seed: number, draw: () => RgbImage): TaskRecord {
  return {
    id,
    images: [{ kind: "render", name: `${id}.png`, render: draw }],
    question: question(seed),
    kind: "text",
    answer: "there",
  };
}

function* asked(count: number): Generator<TaskRecord> {
  for (let i = 0; i < count; i++) yield record(`q${i}`, i, () => picture(i));
}

async function* trained(count: number, of: number): AsyncGenerator<PlacedRecord> {
  for (let i = 0; i < count; i++) {
    const copied = i % COPY_EVERY === 0 ? (i / COPY_EVERY) % of : null;
    const seed = copied ?? of + i;
    const draw = () => (copied === null ? picture(seed) : resize(picture(seed), half, "bicubic"));
    yield { record: record(`t${i}`, seed, draw), place: `training:${i + 1}` };
  }
}

/** Of all threads, so that other work on the machine does not count. */
function cpuSeconds(): number {
  const { user, system } = process.cpuUsage();
  return (user + system) / 1e6;
}

/** The most memory that this process has held so far, in MiB. */
function peak(): number {
  const kib = /VmHWM:\s+(\d+)/.exec(readFileSync("/proc/self/status", "utf8"))?.[1] ?? "0";
  return Math.round(Number(kib) / 1024);
}

/** Copies that were found, and other questions that were taken for some. */
async function check(count: number, against: number): Promise<{ missed: number; wrong: number }> {
  const start = cpuSeconds();
  let held = start;
  const found = await findLeaks(
    [{ task: "size", records: asked(count) }],
    trained(against, count),
    { depth: "pixels", onProgress: (done) => (held = done === 1 ? cpuSeconds() : held) },
  );
  const [first, rest] = [held - start, cpuSeconds() - held];
  const copied = new Set(
    Array.from({ length: Math.ceil(against / COPY_EVERY) }, (_, i) => `q${i % count}`),
  );
  const right = found.leaks.filter(({ id }) => copied.has(id)).length;
  console.log(
    `${count} questions against ${against}: ${right} of ${copied.size} copies, ${found.leaks.length - right} others; ${first.toFixed(1)} CPU s to hold the evaluation, ${rest.toFixed(1)} s for the training set (${((1000 * rest) / against).toFixed(1)} ms a question); peak ${peak()} MiB`,
  );
  return { missed: copied.size - right, wrong: found.leaks.length - right };
}

const few = await check(small, small);
const many = await check(questions, training);
process.exitCode = few.missed + few.wrong + many.missed + many.wrong === 0 ? 0 : 1;
