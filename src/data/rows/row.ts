/**
 * A row of somebody else's table, whatever the file is: cells by column, and the pictures that lie in
 * the file itself, which are read again when they are needed, so that a table larger than memory can be
 * walked. What cells mean is the caller's business.
 */
import { VigorlError } from "../../core/errors.ts";
import type { ImageSource } from "../../task/record.ts";

export interface Row {
  /** `file: row n` or `file:line`. */
  readonly place: string;
  /** From 1; of a file of lines the line's. */
  readonly number: number;
  /** All columns but those of pictures. */
  readonly cells: Readonly<Record<string, unknown>>;
  /** The pictures in a column, in order; none where the cell is empty. */
  readonly pictures: (column: string) => readonly ImageSource[];
}

/**
 * Columns that hold pictures. "one" holds one in every row; "counted" none, one or several, which takes
 * reading the column once more.
 */
export type PictureColumns = Readonly<Record<string, "one" | "counted">>;

/** The bytes of a picture as a cell holds it: bytes, base64, or a struct with bytes. */
export function pictureBytes(cell: unknown, name: string): Uint8Array {
  if (cell instanceof Uint8Array) return isText(cell) ? fromBase64(textOf(cell), name) : cell;
  if (typeof cell === "string") return fromBase64(cell, name);
  if (typeof cell === "object" && cell !== null && "bytes" in cell && cell.bytes != null)
    return pictureBytes(cell.bytes, name);
  throw new VigorlError("input", `${name}: no picture that can be read`, {
    hint: "a picture is its bytes, base64 text, or a struct with bytes",
  });
}

export function fromBase64(text: string, name: string): Uint8Array {
  const bare = text.replace(/^data:[^,]{0,64},/, "").trim();
  if (bare === "" || !/^[A-Za-z0-9+/=\s]+$/.test(bare))
    throw new VigorlError("input", `${name}: is no base64 text`);
  return Buffer.from(bare, "base64");
}

/** Base64 in a column of plain bytes: no picture format begins with letters alone. */
function isText(bytes: Uint8Array): boolean {
  const start = bytes.subarray(0, 64);
  return start.length > 0 && start.every((byte) => (byte >= 43 && byte <= 122) || byte === 10);
}

function textOf(bytes: Uint8Array): string {
  return Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength).toString("latin1");
}
