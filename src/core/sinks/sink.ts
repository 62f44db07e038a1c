/**
 * Where the figures of a run's steps go besides metrics.jsonl. One file a sink; `../metric-sinks.ts` is
 * their table.
 */

/** One line of metrics: a step and named figures. */
export type MetricRow = Readonly<Record<string, unknown>>;

/** A picture of a step. Steps come in order; a name comes once a step. */
export interface MetricPicture {
  readonly step: number;
  readonly name: string;
  readonly png: Uint8Array;
  readonly widthPx: number;
  readonly heightPx: number;
}

export interface MetricSink {
  /** Takes the figures of a step; each step comes once, in order. */
  append(row: MetricRow): Promise<void>;
  /** Takes a picture, where the sink shows pictures. */
  picture?(picture: MetricPicture): Promise<void>;
  /** Forgets every step behind `step`; called before a resumed run goes on. */
  rewind(step: number): Promise<void>;
}
