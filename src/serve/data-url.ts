/** Data URLs (RFC 2397) in the spellings that clients use. What the bytes are is for their reader to see. */
import { ApiError } from "./api-error.ts";

/**
 * The bytes of `url`: any case, type and parameters, base64 in either alphabet, with or without line
 * breaks, padding and percent signs.
 * @throws ApiError 400 where it is none
 */
export function dataUrlBytes(url: string, name: string): Uint8Array {
  const comma = url.slice(0, MAX_HEAD).indexOf(",");
  const head = comma < 0 ? null : /^\s*data:([^,]*?);\s*base64\s*$/i.exec(url.slice(0, comma));
  if (head === null) {
    const example = "data:image/png;base64,… (png, jpeg, webp or gif)";
    throw bad(`${name}: not a data URL; send its bytes as ${example}`);
  }
  const payload = url.slice(comma + 1);
  const text = payload.includes("%") ? unescaped(payload, name) : payload;
  if (/[^\w+/=\s-]/.test(text)) throw bad(`${name}: its data URL is not base64`);
  return Buffer.from(text, "base64");
}

/** Longer than media types and their parameters are. */
const MAX_HEAD = 1024;

function unescaped(payload: string, name: string): string {
  try {
    return decodeURIComponent(payload);
  } catch {
    throw bad(`${name}: its data URL has a percent sign that escapes nothing`);
  }
}

function bad(message: string): ApiError {
  return new ApiError(400, message, { param: "messages" });
}
