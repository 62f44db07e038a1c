/**
 * Which images the worker already has. An image is sent when it is first named and forgotten, least
 * recently used first, when the pixels held over there exceed a bound; a forgotten one is sent again.
 */
import type { ModelImage } from "../../image/model-image.ts";
import type { Chunk } from "../types.ts";
import type { ToWorker, WireChunk } from "./protocol.ts";

const DEFAULT_BYTES = 256 * 2 ** 20;

/** Turns chunks into what crosses to the worker, sending pixels that it lacks. */
export class ImageLedger {
  private readonly post: (message: ToWorker) => void;
  private readonly maxBytes: number;
  /** Bytes by hash, least recently used first. */
  private readonly sent = new Map<string, number>();
  private bytes = 0;

  constructor(post: (message: ToWorker) => void, maxBytes: number = DEFAULT_BYTES) {
    this.post = post;
    this.maxBytes = maxBytes;
  }

  /** One message that names these chunks must follow before the next call of `wire`. */
  wire(chunks: readonly Chunk[]): WireChunk[] {
    return chunks.map((chunk) => {
      if (chunk.type === "text") return chunk;
      this.touch(chunk.image);
      return { type: "image", hash: chunk.image.hash };
    });
  }

  private touch(image: ModelImage): void {
    const { hash } = image;
    const known = this.sent.get(hash);
    if (known !== undefined) {
      this.sent.delete(hash);
      this.sent.set(hash, known);
      return;
    }
    this.post({ kind: "image", image });
    this.sent.set(hash, image.data.byteLength);
    this.bytes += image.data.byteLength;
  }

  /** Forgets what exceeds the bound. Call it after the message that names the last chunks went out. */
  trim(): void {
    for (const [hash, bytes] of this.sent) {
      if (this.bytes <= this.maxBytes) return;
      this.sent.delete(hash);
      this.bytes -= bytes;
      this.post({ kind: "forget", hash });
    }
  }
}
