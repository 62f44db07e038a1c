/**
 * The text that a client sees of a reply: without control tokens, and without the stop string that
 * ended it unless asked for. As it streams, nothing is given out that would have to be taken back.
 */
import { StreamDecoder, type Tokenizer } from "../text/tokenizer.ts";

export class VisibleText {
  private readonly decoder: StreamDecoder;
  private readonly stop: readonly string[];
  private readonly keepsStop: boolean;
  private text = "";
  private numGiven = 0;
  /** The stop string that came. */
  stopString: string | null = null;

  constructor(tokenizer: Tokenizer, stop: readonly string[], keepsStop: boolean) {
    this.decoder = new StreamDecoder(tokenizer, { skipSpecial: true });
    this.stop = stop;
    this.keepsStop = keepsStop;
  }

  /** Adds a token; what can be shown now. */
  push(token: number): string {
    this.text += this.decoder.push(token);
    return this.give(this.end(false));
  }

  /** What is left to show when no more tokens come. */
  flush(): string {
    this.text += this.decoder.flush();
    return this.give(this.end(true));
  }

  private give(end: number): string {
    const piece = this.text.slice(this.numGiven, end);
    this.numGiven = Math.max(this.numGiven, end);
    return piece;
  }

  /** How far the text can be shown. */
  private end(isWhole: boolean): number {
    const found = this.stop
      .map((stop) => ({ stop, at: this.text.indexOf(stop) }))
      .filter(({ at }) => at >= 0)
      .sort((a, b) => a.at + a.stop.length - (b.at + b.stop.length))
      .at(0);
    if (found !== undefined) {
      this.stopString = found.stop;
      return this.keepsStop ? found.at + found.stop.length : found.at;
    }
    if (isWhole || this.keepsStop) return this.text.length;
    return this.text.length - Math.max(0, ...this.stop.map((stop) => begun(this.text, stop)));
  }
}

/** Length of the longest end of `text` that `stop` begins with. */
function begun(text: string, stop: string): number {
  for (let length = Math.min(stop.length - 1, text.length); length > 0; length--)
    if (text.endsWith(stop.slice(0, length))) return length;
  return 0;
}
