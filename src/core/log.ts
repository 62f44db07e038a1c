/**
 * Logging: one pino logger per run, readable lines on stderr for people and the same events as
 * JSON lines in the run folder for machines. Nothing is logged from inside libraries; the verbs
 * log, and hand rooms callbacks.
 */
import { join } from "node:path";
import { pino, type Logger } from "pino";
import pretty from "pino-pretty";

export type Log = Logger;

export interface LogOptions {
  /** Run folder; events are appended to `log.jsonl` in it. */
  readonly folder?: string;
  /** Lowest level shown to people; the file gets everything from `debug` up. */
  readonly level?: "debug" | "info" | "warn" | "error" | "silent";
}

/** Opens a log. Both streams are synchronous: after a crash the last line is there. */
export function openLog({ folder, level = "info" }: LogOptions = {}): Log {
  const streams: pino.StreamEntry[] = [];
  if (level !== "silent") {
    const stream = pretty({
      destination: 2,
      sync: true,
      colorize: process.stderr.isTTY === true,
      ignore: "pid,hostname,time",
      singleLine: true,
      customPrettifiers: { level: (level) => LABELS[Number(level)] ?? `level ${Number(level)}` },
    });
    streams.push({ level, stream });
  }
  if (folder !== undefined) {
    const dest = join(folder, "log.jsonl");
    streams.push({ level: "debug", stream: pino.destination({ dest, mkdir: true, sync: true }) });
  }
  return pino(
    { level: streams.length === 0 ? "silent" : "debug", base: null },
    pino.multistream(streams),
  );
}

const LABELS: Record<number, string> = { 20: "debug", 30: "vigorl", 40: "warning", 50: "error" };
