/** Decoded samples to 8-bit RGB, with Pillow's rounding, whatever the file stored. */

/** Keeps RGB, widens grey, and lays alpha on white or, without `onWhite`, leaves it out. */
export function toRgb(data: Uint8Array, numChannels: number, onWhite = true): Uint8Array {
  if (numChannels === 3) return new Uint8Array(data.buffer, data.byteOffset, data.length);
  const numPixels = data.length / numChannels;
  const result = new Uint8Array(numPixels * 3);
  const hasAlpha = onWhite && (numChannels === 2 || numChannels === 4);
  const isGrey = numChannels < 3;
  for (let i = 0; i < numPixels; i++) {
    const from = i * numChannels;
    const alpha = hasAlpha ? data[from + numChannels - 1] : 255;
    for (let c = 0; c < 3; c++) {
      const level = data[from + (isGrey ? 0 : c)];
      result[i * 3 + c] = divideBy255(level * alpha + 255 * (255 - alpha));
    }
  }
  return result;
}

/** Subtracts inks from white; no ink profile. */
export function cmykToRgb(data: Uint8Array, numChannels: number): Uint8Array {
  const numPixels = data.length / numChannels;
  const result = new Uint8Array(numPixels * 3);
  for (let i = 0; i < numPixels; i++) {
    const light = 255 - data[i * numChannels + 3];
    for (let c = 0; c < 3; c++)
      result[i * 3 + c] = light - divideBy255(data[i * numChannels + c] * light);
  }
  return result;
}

/** JPEG's luminance and chroma; within one level of Pillow, whose tables have six bits of fraction. */
export function ycbcrToRgb(data: Uint8Array, numChannels: number): Uint8Array {
  const numPixels = data.length / numChannels;
  const result = new Uint8ClampedArray(numPixels * 3);
  for (let i = 0; i < numPixels; i++) {
    const luminance = data[i * numChannels];
    const blue = data[i * numChannels + 1] - 128;
    const red = data[i * numChannels + 2] - 128;
    result[i * 3] = luminance + Math.floor(1.402 * red);
    result[i * 3 + 1] = luminance + Math.floor(-0.34414 * blue - 0.71414 * red);
    result[i * 3 + 2] = luminance + Math.floor(1.772 * blue);
  }
  return new Uint8Array(result.buffer);
}

/** 16-bit grey as Pillow's `convert("RGB")` has it: what is above 255 is white. */
export function cutGrey16(data: Uint16Array): Uint8Array {
  const result = new Uint8Array(data.length * 3);
  for (let i = 0; i < data.length; i++) result.fill(Math.min(255, data[i]), i * 3, i * 3 + 3);
  return result;
}

/** Rounds value / 255 for values up to 255². */
function divideBy255(value: number): number {
  const moved = value + 128;
  return ((moved >> 8) + moved) >> 8;
}
