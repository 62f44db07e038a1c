/** Pictures read in threads: the same pixels as here, the same errors, and no thread lost for good. */
import { readFileSync } from "node:fs";
import { expect, test } from "vitest";
import { VigorlError } from "../core/errors.ts";
import { decodeImage } from "./decode.ts";
import { fixturePath } from "./fixtures/digest.ts";
import { patches14 } from "./fixtures/preprocessor.ts";
import { toModelImage } from "./model-image.ts";
import { PicturePool } from "./pool.ts";

const budget = { minPixels: 12_544, maxPixels: 12_544 };
const jobOf = (name: string, decode = {}) => ({
  bytes: readFileSync(fixturePath(name)),
  decode: { name, ...decode },
  budget,
  preprocessor: patches14,
});
const { signal } = new AbortController();

test("more pictures than threads, sound and damaged, each as it would be read here", async () => {
  const pool = new PicturePool({ threads: 1 });
  const names = ["rgb.png", "turned.jpg", "palette.gif", "resize.json", "rgb.webp"];
  const read = names.map((name) => pool.read(jobOf(name), signal).catch((error: unknown) => error));
  for (const [i, name] of names.entries()) {
    const result = await read[i];
    if (name === "resize.json") {
      expect(result).toBeInstanceOf(VigorlError);
      expect(result).toMatchObject({
        code: "input",
        message: expect.stringMatching(/resize.json: this is not/) as string,
      });
      continue;
    }
    const seen = toModelImage(await decodeImage(fixturePath(name)), budget, patches14);
    expect(result).toEqual({ seen, pixels: null });
  }
  await pool.close();
});

test("a picture that takes too long costs its thread, not the next picture", async () => {
  const pool = new PicturePool({ threads: 1, limitMs: 1 });
  await expect(pool.read(jobOf("rgb.png"), signal)).rejects.toThrow(/rgb.png: not read within/);
  await pool.close();
  const patient = new PicturePool({ threads: 1 });
  const first = patient.read(jobOf("rgb.png"), signal);
  const client = new AbortController();
  const second = patient.read(jobOf("rgb.webp"), client.signal);
  client.abort(new Error("gone"));
  await expect(second).rejects.toThrow("gone");
  expect((await first).seen.widthPx).toBe(140);
  await patient.close();
});
