/** Records that cannot be asked, told once each: a picture is missing or broken, or has no room. */
import type { ScoredEpisode } from "./rollouts.ts";

/** Records that are told by name; of the rest only the number. */
const maxTold = 5;

export class BrokenRecords {
  private readonly ids = new Set<string>();
  private readonly warn: (message: string) => void;

  constructor(warn: (message: string) => void) {
    this.warn = warn;
  }

  get count(): number {
    return this.ids.size;
  }

  /** Warns of records whose episodes could not begin, where they are new. */
  note(scored: readonly Pick<ScoredEpisode, "record" | "episode">[]): void {
    for (const { record, episode } of scored) {
      if (episode.stopReason !== "inputError" || this.ids.has(record.id)) continue;
      this.ids.add(record.id);
      if (this.count <= maxTold) this.warn(`left out: ${episode.error ?? record.id}`);
      else if (this.count === maxTold + 1) this.warn("further records are left out, too");
    }
  }
}
