/**
 * How far a pipeline is, and about how long all of it will still take: by what work of the same sort took
 * so far, and where there was none, by what a reply of the model took on average. Nothing is said before
 * two pieces are done.
 */
import { formatDuration } from "./core/progress.ts";
import { repliesOf, type Piece } from "./pieces.ts";

/** A piece that is begun and ended as one: a stage, or the evaluation of a model's arms. */
export interface Part {
  readonly name: string;
  readonly pieces: readonly Piece[];
}

export class PipelineClock {
  private readonly parts: readonly Part[];
  private readonly ended = new Set<string>();
  private readonly seconds = new Map<string, number>();
  private numBegun = 0;

  constructor(parts: readonly Part[]) {
    this.parts = parts;
  }

  /** `3/12`, and the time left where it can be told. */
  begin(): { readonly count: string; readonly left: string } {
    const count = `${++this.numBegun}/${this.parts.length}`;
    const seconds = this.secondsLeft();
    return {
      count,
      left: seconds === null ? "" : ` · about ${formatDuration(seconds)} left in all`,
    };
  }

  /** How long a part took, in this try or in an earlier one; null where nobody knows. */
  end(name: string, seconds: number | null): void {
    this.ended.add(name);
    if (seconds !== null) this.seconds.set(name, seconds);
  }

  secondsLeft(): number | null {
    const done = this.parts.filter(({ name }) => this.seconds.has(name));
    if (done.length < MIN_MEASURED) return null;
    const all = rateOf(done, this.seconds);
    return this.parts
      .filter(({ name }) => !this.ended.has(name))
      .reduce((sum, part) => {
        const alike = done.filter((other) => kindOf(other) === kindOf(part));
        const rate = alike.length === 0 ? all : rateOf(alike, this.seconds);
        return sum + rate * weightOf(part);
      }, 0);
  }
}

const MIN_MEASURED = 2;

function rateOf(parts: readonly Part[], seconds: ReadonlyMap<string, number>): number {
  const took = parts.reduce((sum, { name }) => sum + (seconds.get(name) ?? 0), 0);
  return took / parts.reduce((sum, part) => sum + weightOf(part), 0);
}

function weightOf({ pieces }: Part): number {
  return pieces.reduce((sum, piece) => sum + repliesOf(piece), 0);
}

function kindOf({ pieces }: Part): string | undefined {
  return pieces.at(-1)?.kind;
}
