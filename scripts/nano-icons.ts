/**
 * Makes src/nano/assets/icons.pgm.gz: one 96-px alpha mask for every shape of the nano world (rows) in
 * every icon set (columns). The sets are needed only here, so they are no dependency:
 *   npm install --prefix /tmp/icons @mdi/svg@7.4.47 @phosphor-icons/core@2.1.1 ionicons@8.1.0 @tabler/icons@3.51.0
 *   npx tsx scripts/nano-icons.ts /tmp/icons/node_modules
 */
import { readFile, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { gzipSync } from "node:zlib";
import sharp from "sharp";

const maskPx = 96;

/** Folder inside its package and file name of each shape, by set; bootstrap-icons comes with us. */
const sets: Record<string, { folder: string; files: Record<string, string> }> = {
  mdi: {
    folder: "@mdi/svg/svg",
    files: {
      star: "star",
      heart: "heart",
      moon: "moon-waning-crescent",
      cloud: "cloud",
      bell: "bell",
      drop: "water",
      house: "home",
      bolt: "flash",
      plane: "airplane",
      flag: "flag",
    },
  },
  phosphor: {
    folder: "@phosphor-icons/core/assets/fill",
    files: {
      star: "star-fill",
      heart: "heart-fill",
      moon: "moon-fill",
      cloud: "cloud-fill",
      bell: "bell-fill",
      drop: "drop-fill",
      house: "house-fill",
      bolt: "lightning-fill",
      plane: "airplane-fill",
      flag: "flag-fill",
    },
  },
  tabler: {
    folder: "@tabler/icons/icons/filled",
    files: {
      star: "star",
      heart: "heart",
      moon: "moon",
      cloud: "cloud",
      bell: "bell",
      drop: "droplet",
      house: "home",
      bolt: "bolt",
      plane: "plane",
      flag: "flag",
    },
  },
  ionicons: {
    folder: "ionicons/dist/svg",
    files: {
      star: "star",
      heart: "heart",
      moon: "moon",
      cloud: "cloud",
      bell: "notifications",
      drop: "water",
      house: "home",
      bolt: "flash",
      plane: "airplane",
      flag: "flag",
    },
  },
  bootstrap: {
    folder: "bootstrap-icons/icons",
    files: {
      star: "star-fill",
      heart: "heart-fill",
      moon: "moon-fill",
      cloud: "cloud-fill",
      bell: "bell-fill",
      drop: "droplet-fill",
      house: "house-door-fill",
      bolt: "lightning-fill",
      plane: "airplane-fill",
      flag: "flag-fill",
    },
  },
};

const [, , modules = "node_modules"] = process.argv;
const names = Object.keys(sets);
const shapes = Object.keys(sets.mdi.files);
const composites = await Promise.all(
  names.flatMap((set, column) =>
    shapes.map(async (shape, row) => ({
      input: await mask(set, sets[set].files[shape]),
      left: column * maskPx,
      top: row * maskPx,
    })),
  ),
);
const { data, info } = await sharp({
  create: {
    width: names.length * maskPx,
    height: shapes.length * maskPx,
    channels: 3,
    background: "#000",
  },
})
  .composite(composites)
  .toColourspace("b-w")
  .raw()
  .toBuffer({ resolveWithObject: true });
const header = `P5\n${info.width} ${info.height}\n255\n`;
const sheet = gzipSync(Buffer.concat([Buffer.from(header), data]), { level: 9 });
await writeFile("src/nano/assets/icons.pgm.gz", sheet);
process.stdout.write(
  `${sheet.length} bytes; sets ${names.join(" ")}; shapes ${shapes.join(" ")}\n`,
);

/** White on black, cut to the drawing, its longer side `maskPx`. */
async function mask(set: string, file: string): Promise<Buffer> {
  const root = set === "bootstrap" ? "node_modules" : modules;
  const svg = await readFile(join(root, sets[set].folder, `${file}.svg`), "utf8");
  const black = svg.replaceAll("currentColor", "#000");
  const drawn = await sharp(Buffer.from(black), { density: 1200 })
    .resize(512, 512, { fit: "contain", background: "#0000" })
    .extractChannel("alpha")
    .png()
    .toBuffer();
  const trimmed = await sharp(drawn).trim({ background: "#000", threshold: 8 }).png().toBuffer();
  return sharp(trimmed)
    .resize(maskPx, maskPx, { fit: "contain", background: "#000" })
    .png()
    .toBuffer();
}
