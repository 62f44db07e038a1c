/**
 * Questions in their order. Those of a file are read when they are looked at and not held, so that there may
 * be any number of them.
 */
import type { TaskRecord } from "./record.ts";

/** An array is one. */
export interface Records extends Iterable<TaskRecord> {
  readonly length: number;
  /** @throws VigorlError("input" | "io") where the file has changed since */
  at(index: number): TaskRecord | undefined;
}

/** One that is there. */
export function recordAt(records: Records, index: number): TaskRecord {
  const record = records.at(index);
  if (record === undefined) throw new Error(`no record ${index} of ${records.length}`);
  return record;
}

/** Each record changed, when it is looked at; with `places`, those alone, in their order. */
export function changedRecords(
  records: Records,
  change: (record: TaskRecord) => TaskRecord,
  places?: readonly number[],
): Records {
  const { length } = places ?? records;
  return {
    length,
    at(index) {
      const place = places === undefined ? index : places[index];
      const record = place === undefined ? undefined : records.at(place);
      return record && change(record);
    },
    *[Symbol.iterator]() {
      if (places === undefined) for (const record of records) yield change(record);
      else for (const place of places) yield change(recordAt(records, place));
    },
  };
}

/** The first so many. */
export function firstRecords(records: Records, count: number): TaskRecord[] {
  const first: TaskRecord[] = [];
  for (const record of records) {
    if (first.length >= count) break;
    first.push(record);
  }
  return first;
}

/** At most so many, evenly from all. */
export function spreadRecords(records: Records, count: number): TaskRecord[] {
  const stride = Math.max(1, Math.floor(records.length / count));
  const length = Math.min(count, Math.ceil(records.length / stride));
  return Array.from({ length }, (_, i) => recordAt(records, i * stride));
}
