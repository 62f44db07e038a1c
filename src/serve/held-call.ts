/**
 * What a client sees of a turn with tools: the text before the call, as it comes. From where a call may
 * begin on, the text is held until the turn is over and it is known whether it was one.
 */
export class HeldCall {
  private readonly tag: string;
  private text = "";
  private numGiven = 0;

  /** @param tag opens a call */
  constructor(tag: string) {
    this.tag = tag.toLowerCase();
  }

  /** All that was said. */
  get all(): string {
    return this.text;
  }

  /** Adds text; what can be shown now. */
  push(text: string): string {
    this.text += text;
    return this.give(this.end());
  }

  /** What is left to show of the first `length` characters, when no more come. */
  flush(length: number): string {
    return this.give(length);
  }

  private give(end: number): string {
    const piece = this.text.slice(this.numGiven, end);
    this.numGiven = Math.max(this.numGiven, end);
    return piece;
  }

  /** Blanks before a call belong to it. */
  private end(): number {
    const low = this.text.toLowerCase();
    const from = Math.max(0, this.numGiven - this.tag.length);
    const at = low.indexOf(this.tag, from);
    let end = at >= 0 ? at : low.length;
    if (at < 0)
      for (let length = Math.min(this.tag.length - 1, low.length); length > 0; length--)
        if (low.endsWith(this.tag.slice(0, length))) {
          end = low.length - length;
          break;
        }
    return this.text.slice(0, end).trimEnd().length;
  }
}
