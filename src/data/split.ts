/**
 * A dataset in two, so that no image is on both sides: questions that share the bytes of an image stay
 * together, whatever its files are called.
 */
import { VigorlError } from "../core/errors.ts";
import { hashFile, hashText } from "../core/files.ts";
import { mapBounded } from "../core/bounded.ts";
import { stream } from "../core/random.ts";
import type { ImageSource, TaskRecord } from "../task/record.ts";

export interface Split {
  readonly train: readonly TaskRecord[];
  readonly heldout: readonly TaskRecord[];
  /** Groups of questions that share images. */
  readonly numGroups: number;
}

/**
 * Holds out about `share` of the records, drawn by `seed`, each side in the order of the file.
 * @throws VigorlError("input") where an image is missing, or one side would be empty
 */
export async function splitByImage(
  records: readonly TaskRecord[],
  {
    share,
    seed,
    signal,
  }: { readonly share: number; readonly seed: number; readonly signal?: AbortSignal },
): Promise<Split> {
  const groups = await groupsOf(records, signal);
  const wanted = Math.max(1, Math.round(share * records.length));
  const out = new Set<number>();
  for (const group of stream(seed, "split").shuffle(groups))
    if (out.size + group.length <= wanted) for (const index of group) out.add(index);
  if (out.size === 0 || out.size === records.length) {
    const sizes = groups.map((group) => group.length).sort((a, b) => b - a);
    throw new VigorlError(
      "input",
      `${records.length} records hang together through their images in ${groups.length} groups (the largest has ${sizes[0]}), and none of them leaves about ${wanted} to hold out`,
      { hint: "give --share another value, or more images" },
    );
  }
  return {
    train: records.filter((_, i) => !out.has(i)),
    heldout: records.filter((_, i) => out.has(i)),
    numGroups: groups.length,
  };
}

/** Places of records that share images, directly or through others, in the order of the file. */
async function groupsOf(records: readonly TaskRecord[], signal?: AbortSignal): Promise<number[][]> {
  const hashes = await mapBounded(records, 8, signal, (record) =>
    Promise.all(record.images.map((image) => hashOf(image, record.id))),
  );
  const leaders = records.map((_, i) => i);
  const leaderOf = (i: number): number => {
    while (leaders[i] !== i) i = leaders[i] = leaders[leaders[i]];
    return i;
  };
  const first = new Map<string, number>();
  for (const [i, own] of hashes.entries())
    for (const hash of own) {
      const other = first.get(hash);
      if (other === undefined) first.set(hash, i);
      else leaders[leaderOf(i)] = leaderOf(other);
    }
  const groups = new Map<number, number[]>();
  for (const i of records.keys()) groups.set(leaderOf(i), [...(groups.get(leaderOf(i)) ?? []), i]);
  return [...groups.values()];
}

async function hashOf(image: ImageSource, id: string): Promise<string> {
  switch (image.kind) {
    case "bytes":
      return hashText(image.bytes);
    case "stored":
      return hashText(await image.read());
    case "render":
      return image.name;
    case "path":
      return hashFile(image.path).catch((cause: unknown) => {
        throw new VigorlError("input", `record ${id}: ${image.path}: image not found`, { cause });
      });
  }
}
