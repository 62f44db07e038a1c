/** The rows of `bench -- gpu` in Python, after ours, when the card is free again. */
import { Peer, readySchema } from "../peers.ts";
import { z } from "zod";
import type { Row } from "./report.ts";

/** What `peers/gpu.py` is asked. */
export type PeerAsk =
  | { readonly row: "copy"; readonly numbers: number }
  | { readonly row: "matmul"; readonly size: number }
  | {
      readonly row: "decode";
      readonly folder: string;
      readonly sequences: number;
      readonly promptTokens: number;
      readonly newTokens: number;
    }
  | {
      readonly row: "sft";
      readonly lora: boolean;
      readonly folder: string;
      readonly data: string;
      readonly work: {
        readonly sequences: number;
        readonly scoredTokens: number;
        readonly steps: number;
      };
    };

export interface PeerOptions {
  readonly device: string;
  readonly secondsLeft: () => number;
  readonly skip: boolean;
  readonly wrote: () => Promise<void>;
}

/** Seconds that a row of the peer may take, its model included. */
const AT_MOST = 45;

const answerSchema = z.union([
  z.strictObject({ figures: z.record(z.string(), z.number()) }),
  z.strictObject({ error: z.string() }),
]);

/** Fills in the peer's side of the rows; its versions, or null where it did not run. */
export async function peerRows(
  planned: readonly { readonly name: string; readonly peer?: PeerAsk }[],
  rows: Row[],
  { device, secondsLeft, skip, wrote }: PeerOptions,
): Promise<Readonly<Record<string, string>> | null> {
  const asks = planned.flatMap(({ name, peer }) => (peer === undefined ? [] : [{ name, peer }]));
  const fill = (name: string, filled: Partial<Row>): void => {
    const at = rows.findIndex((row) => row.name === name);
    rows[at] = { ...rows[at], ...filled };
  };
  const fillAll = (peerWhy: string): null => {
    for (const { name } of asks) fill(name, { peerWhy });
    return null;
  };
  if (skip) return fillAll("not asked for");
  process.env.VIGORL_BENCH_PYTHON ??= "python3";
  const peer = new Peer("gpu.py", [`--device=${device}`]);
  let versions: Record<string, string>;
  try {
    ({ versions } = readySchema.parse(await peer.ask()));
  } catch (error) {
    return fillAll(`not run: ${error instanceof Error ? error.message : String(error)}`);
  }
  for (const { name, peer: ask } of asks) {
    if (device !== "cpu" && secondsLeft() < AT_MOST) {
      fill(name, { peerWhy: "not run: no time was left of the budget" });
      continue;
    }
    try {
      const answer = answerSchema.parse(await peer.ask(ask));
      if ("figures" in answer) fill(name, { peer: answer.figures });
      else fill(name, { peerWhy: `failed: ${answer.error.slice(0, 300)}` });
    } catch (error) {
      fill(name, { peerWhy: `failed: ${error instanceof Error ? error.message : String(error)}` });
      break;
    }
    await wrote();
  }
  peer.close();
  return versions;
}
