/**
 * A Parquet file, read column by column in a thread that may fail: whatever is wrong with the file ends
 * as one error that names file, row group and column. One thread serves all files and is started again
 * when one of them was its end.
 */
import type { Worker } from "node:worker_threads";
import { VigorlError } from "../core/errors.ts";
import { isLfsPointer, lfsPointerError, openRegular } from "../core/regular-file.ts";
import { startWorker } from "../core/worker.ts";
import type { Layout, PagesReply, PagesRequest } from "./parquet-pages.ts";

/** Heap of the thread; pages and pictures lie outside it. */
const heapMb = 768;
/** Longest that one column of a row group may take: what is sound takes a tenth of it. */
const minSeconds = 8;
const bytesPerSecond = 10e6;
/** More rows in a group than any writer makes. */
const maxGroupRows = 1 << 24;

export interface ParquetFile extends Layout {
  /** The values of a column in a row group, from 0. @throws VigorlError("input") */
  readonly column: (group: number, name: string) => Promise<unknown[]>;
  /** The values of a column in rows from `start`, before `end`, of one row group. @throws VigorlError("input") */
  readonly rows: (name: string, start: number, end: number) => Promise<unknown[]>;
}

/** Opens a file and reads its footer. @throws VigorlError("input" | "io") where it is none */
export async function openParquet(file: string): Promise<ParquetFile> {
  const { handle, bytes } = await openRegular(file);
  const start = Buffer.alloc(64);
  try {
    await handle.read(start, 0, 64, 0);
  } finally {
    await handle.close();
  }
  if (isLfsPointer(start)) throw lfsPointerError(file);
  const seconds = minSeconds + bytes / bytesPerSecond;
  const ask = (request: PagesRequest, place: string) => answerOf(request, seconds, place);
  const layout = (await ask({ kind: "layout", file }, `${file}: not a Parquet file`)) as Layout;
  const { groupRows } = layout;
  const odd = groupRows.findIndex((rows) => !(rows >= 0 && rows <= maxGroupRows));
  if (odd >= 0)
    throw damaged(`${file}: row group ${odd + 1}`, `is said to have ${groupRows[odd]} rows`);
  const read = async (column: string, rowStart: number, rowEnd: number, place: string) => {
    const wish = { kind: "column", file, rowStart, rowEnd, column } as const;
    const values = await ask(wish, place);
    if (Array.isArray(values) && values.length === rowEnd - rowStart) return values as unknown[];
    throw damaged(place, `does not hold ${rowEnd - rowStart} rows`);
  };
  return {
    ...layout,
    column: (group, name) => {
      const start = groupRows.slice(0, group).reduce((sum, rows) => sum + rows, 0);
      const place = `${file}: row group ${group + 1}, column ${name}`;
      return read(name, start, start + groupRows[group], place);
    },
    rows: (name, start, end) =>
      read(name, start, end, `${file}: rows ${start + 1} to ${end}, column ${name}`),
  };
}

/** The thread, while it lives; one question is before it at a time, so that its time counts for it alone. */
let thread: Worker | undefined;
let turn: Promise<unknown> = Promise.resolve();
let question: { answer(reply: PagesReply): void; fail(what: string): void } | undefined;

function answerOf(wish: PagesRequest, seconds: number, place: string): Promise<unknown> {
  const answer = turn.then(() => askThread(wish, seconds, place));
  turn = answer.catch(() => undefined);
  return answer;
}

async function askThread(wish: PagesRequest, seconds: number, place: string): Promise<unknown> {
  const worker = (thread ??= startThread());
  let timer: NodeJS.Timeout | undefined;
  worker.ref();
  try {
    return await new Promise((resolve, reject) => {
      const fail = (what: string) => {
        reject(damaged(place, what));
        if (thread === worker) thread = undefined;
        void worker.terminate();
      };
      const answer = (reply: PagesReply) =>
        "error" in reply ? reject(damaged(place, reply.error)) : resolve(reply.value);
      question = { answer, fail };
      timer = setTimeout(() => fail(`not decoded within ${Math.round(seconds)} s`), 1000 * seconds);
      worker.postMessage(wish);
    });
  } finally {
    clearTimeout(timer);
    question = undefined;
    worker.unref();
  }
}

function startThread(): Worker {
  const limits = { maxOldGenerationSizeMb: heapMb };
  const worker = startWorker("data/parquet-pages", null, limits);
  worker.on("message", (reply: PagesReply) => {
    if (thread === worker) question?.answer(reply);
  });
  worker.on("error", (error) => {
    if (thread === worker) question?.fail(error.message);
  });
  worker.on("exit", () => {
    if (thread === worker) question?.fail("its decoder ended");
  });
  return worker;
}

function damaged(place: string, what: string): VigorlError {
  return new VigorlError("input", `${place}: ${what}`, {
    hint: "the file is damaged or cut off; write or download it again",
  });
}
