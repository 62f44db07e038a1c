/**
 * The body of a request, byte by byte: no more than is allowed, none of it later than a client that is
 * there would send it, and all of it on the account of the bytes that the server holds.
 */
import { isUtf8 } from "node:buffer";
import type { Context } from "hono";
import { jsonProblem } from "../core/json-text.ts";
import { ApiError } from "./api-error.ts";
import type { Share } from "./budget.ts";
import { checkBounds, type JsonBounds } from "./json-bounds.ts";

export interface BodyLimits {
  readonly maxBodyBytes: number;
  /** Longest silence of a client within its body. */
  readonly bodyIdleMs: number;
  /** Longest time for a whole body. */
  readonly bodyMs: number;
}

/** @throws ApiError 400, 408, 413, 415, 503 */
export async function readJson(
  c: Context,
  limits: BodyLimits,
  bounds: JsonBounds,
  share: Share,
): Promise<unknown> {
  // Pages of other origins can post plain text here without being asked for leave, but not JSON.
  const type = c.req.header("content-type") ?? "";
  if (!/^application\/json\b/i.test(type))
    throw new ApiError(415, "send the body as application/json");
  const charset = /;\s*charset\s*=\s*"?([^";\s]*)/i.exec(type)?.[1] ?? "utf-8";
  if (!/^utf-?8$/i.test(charset)) throw new ApiError(415, "send the body as UTF-8");
  const encoding = c.req.header("content-encoding") ?? "identity";
  if (encoding.trim().toLowerCase() !== "identity")
    throw new ApiError(415, "send the body without Content-Encoding");
  const bytes = await readBytes(c.req.raw, limits, share);
  checkBounds(bytes, bounds);
  if (!isUtf8(bytes)) throw new ApiError(400, "the body is not UTF-8");
  const text = bytes.toString("utf8").replace(/^\ufeff/, "");
  const problem = jsonProblem(text);
  if (problem !== null) throw new ApiError(400, `the body ${problem}`);
  try {
    return JSON.parse(text) as unknown;
  } catch (error) {
    throw new ApiError(400, `the body is not JSON: ${error instanceof Error ? error.message : ""}`);
  }
}

async function readBytes(request: Request, limits: BodyLimits, share: Share): Promise<Buffer> {
  const { maxBodyBytes, bodyIdleMs, bodyMs } = limits;
  const tooLarge = () => new ApiError(413, `the body is larger than ${maxBodyBytes} bytes`);
  if (Number(request.headers.get("content-length") ?? 0) > maxBodyBytes) throw tooLarge();
  const reader = request.body?.getReader();
  if (reader === undefined) return Buffer.alloc(0);
  const end = performance.now() + bodyMs;
  const chunks: Uint8Array[] = [];
  let numBytes = 0;
  try {
    for (;;) {
      const { done, value } = await inTime(
        reader.read() as Promise<{ done: boolean; value?: Uint8Array }>,
        Math.min(bodyIdleMs, end - performance.now()),
      );
      if (done || value === undefined) return Buffer.concat(chunks);
      numBytes += value.length;
      if (numBytes > maxBodyBytes) throw tooLarge();
      // The bytes, their text, and what is parsed out of it.
      share.take(BYTES_A_BYTE * value.length);
      chunks.push(value);
    }
  } catch (error) {
    void reader.cancel().catch(() => undefined);
    throw error;
  }
}

const BYTES_A_BYTE = 3;

async function inTime<T>(work: Promise<T>, ms: number): Promise<T> {
  let timer: NodeJS.Timeout | undefined;
  const late = new Promise<never>((_, reject) => {
    timer = setTimeout(
      () => reject(new ApiError(408, "the body did not come in time")),
      Math.max(0, ms),
    );
  });
  try {
    return await Promise.race([work, late]);
  } finally {
    clearTimeout(timer);
  }
}
