/**
 * How the pixels of a file become RGB where the readers of other programs disagree. `own` shows most:
 * upright, transparency on white, all levels of 16 bits. The others are for results that were published
 * with them; docs/pixels.md has the table, and what they have in common.
 */

export const readingNames = ["own", "qwen-vl-utils", "transformers"] as const;
export type ReadingName = (typeof readingNames)[number];

export interface Reading {
  /** Turn a picture upright, as its EXIF orientation says. */
  readonly turns: boolean;
  /** Which transparent pixels lie on white; the others show the colour that the file hides in them. */
  readonly white: "all" | "rgba" | "none";
  /** 16-bit grey: its upper eight bits, or, as Pillow converts it, cut off at 255. */
  readonly grey16: "scaled" | "cut";
  /** What a side becomes that rounds to no visual token: one, or whatever the smallest area gives it. */
  readonly thin: "one token" | "smallest area";
}

export const readings: Readonly<Record<ReadingName, Reading>> = {
  own: { turns: true, white: "all", grey16: "scaled", thin: "one token" },
  /** `fetch_image` of qwen-vl-utils 0.0.11. */
  "qwen-vl-utils": { turns: false, white: "rgba", grey16: "cut", thin: "one token" },
  /** `load_image` of transformers 5.23 on a path, and its image processor without torchvision. */
  transformers: { turns: true, white: "none", grey16: "cut", thin: "smallest area" },
};
