import { expect, test } from "vitest";
import type { ModelImage } from "../../image/model-image.ts";
import type { Chunk } from "../types.ts";
import { ImageLedger } from "./image-ledger.ts";
import type { ToWorker } from "./protocol.ts";

const image = (hash: string): Chunk => ({
  type: "image",
  image: { hash, data: new Uint8Array(10) } as ModelImage,
});

test("an image is sent once, and again only after it was forgotten", () => {
  const log: string[] = [];
  const ledger = new ImageLedger((message: ToWorker) => {
    if (message.kind === "image") log.push(`+${message.image.hash}`);
    if (message.kind === "forget") log.push(`-${message.hash}`);
  }, 20);
  const send = (...hashes: string[]): void => {
    expect(ledger.wire(hashes.map(image))).toEqual(hashes.map((hash) => ({ type: "image", hash })));
    ledger.trim();
  };
  send("a", "b", "a");
  send("a");
  send("c");
  send("b", "a");
  expect(log).toEqual(["+a", "+b", "+c", "-b", "+b", "-c"]);
});
