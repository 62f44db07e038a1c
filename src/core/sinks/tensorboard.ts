/**
 * TensorBoard event files: `tensorboard --logdir runs` shows every run that has them.
 * A file is TFRecords (length and data, each with a masked CRC-32C) of `Event` messages: wall time 1,
 * step 2, file version 3, summary 5, session log 7. Names and figures are those of metrics.jsonl.
 *
 * A resumed run goes on in a new file that opens with a session log; readers drop every step from
 * there on that older files hold, so that no step shows twice. Left out: histograms, text.
 */
import { appendFile, mkdir, readdir } from "node:fs/promises";
import { hostname } from "node:os";
import { join } from "node:path";
import { ioError } from "../files.ts";
import type { MetricPicture, MetricRow, MetricSink } from "./sink.ts";

export function tensorboardSink(folder: string): MetricSink {
  let file: string | undefined;
  const write = async (records: readonly Buffer[]): Promise<void> => {
    const isNew = file === undefined;
    try {
      file ??= join(folder, await nextName(folder));
      await appendFile(file, Buffer.concat(isNew ? [versionRecord(), ...records] : records));
    } catch (error) {
      throw ioError(error, file ?? folder);
    }
  };
  return {
    append: async (row: MetricRow) => write([scalarsRecord(row)]),
    picture: async (picture) => write([pictureRecord(picture)]),
    rewind: async (step) => {
      file = undefined;
      await write([restartRecord(step + 1)]);
    },
  };
}

const PREFIX = "events.out.tfevents.";

/** Readers take a folder's files in the order of their names, so a new name comes behind the others. */
async function nextName(folder: string): Promise<string> {
  await mkdir(folder, { recursive: true });
  const times = (await readdir(folder))
    .filter((name) => name.startsWith(PREFIX))
    .map((name) => Number(name.slice(PREFIX.length).split(".")[0]));
  const seconds = Math.max(Math.floor(Date.now() / 1000), ...times.map((time) => time + 1));
  return `${PREFIX}${String(seconds).padStart(10, "0")}.${hostname()}`;
}

function versionRecord(): Buffer {
  return tfRecord(event(0, bytesField(3, Buffer.from("brain.Event:2"))));
}

/** A session starts at `step`: whatever older files hold from there on is void. */
function restartRecord(step: number): Buffer {
  const started = varintField(1, 1);
  return tfRecord(event(step, bytesField(7, started)));
}

function scalarsRecord(row: MetricRow): Buffer {
  const values = Object.entries(row).flatMap(([name, value]) =>
    name === "step" || typeof value !== "number"
      ? []
      : [bytesField(1, Buffer.concat([bytesField(1, Buffer.from(name)), floatField(2, value)]))],
  );
  return tfRecord(event(Number(row.step), bytesField(5, Buffer.concat(values))));
}

/** An image of a summary: height 1, width 2, colour space 3 (RGB), encoded bytes 4. */
function pictureRecord({ step, name, png, widthPx, heightPx }: MetricPicture): Buffer {
  const image = Buffer.concat([
    varintField(1, heightPx),
    varintField(2, widthPx),
    varintField(3, 3),
    bytesField(4, Buffer.from(png)),
  ]);
  const value = Buffer.concat([bytesField(1, Buffer.from(name)), bytesField(4, image)]);
  return tfRecord(event(step, bytesField(5, bytesField(1, value))));
}

function event(step: number, what: Buffer): Buffer {
  const wallTime = Buffer.alloc(9);
  wallTime[0] = (1 << 3) | 1;
  wallTime.writeDoubleLE(Date.now() / 1000, 1);
  return Buffer.concat([wallTime, varintField(2, step), what]);
}

/** Length, checksum of the length, data, checksum of the data. */
function tfRecord(data: Buffer): Buffer {
  const head = Buffer.alloc(12);
  head.writeBigUInt64LE(BigInt(data.length));
  head.writeUInt32LE(maskedCrc(head.subarray(0, 8)), 8);
  const tail = Buffer.alloc(4);
  tail.writeUInt32LE(maskedCrc(data));
  return Buffer.concat([head, data, tail]);
}

// Protocol buffers: a field is its number and wire type, then the value.

function varintField(field: number, value: number): Buffer {
  return Buffer.concat([varint(field << 3), varint(value)]);
}

function bytesField(field: number, bytes: Buffer): Buffer {
  return Buffer.concat([varint((field << 3) | 2), varint(bytes.length), bytes]);
}

function floatField(field: number, value: number): Buffer {
  const out = Buffer.alloc(5);
  out[0] = (field << 3) | 5;
  out.writeFloatLE(value, 1);
  return out;
}

function varint(value: number): Buffer {
  const out: number[] = [];
  let rest = BigInt(value);
  while (rest >= 128n) {
    out.push(Number(rest & 127n) | 128);
    rest >>= 7n;
  }
  return Buffer.from([...out, Number(rest)]);
}

/** CRC-32C, turned and offset as TFRecords store it. */
function maskedCrc(bytes: Uint8Array): number {
  let crc = ~0;
  for (const byte of bytes) crc = CRC_TABLE[(crc ^ byte) & 255] ^ (crc >>> 8);
  crc = ~crc >>> 0;
  return (((crc >>> 15) | (crc << 17)) + 0xa282ead8) >>> 0;
}

const CRC_TABLE = Uint32Array.from({ length: 256 }, (_, byte) => {
  let crc = byte;
  for (let bit = 0; bit < 8; bit++) crc = (crc >>> 1) ^ (crc & 1 ? 0x82f63b78 : 0);
  return crc >>> 0;
});
