/**
 * An engine that works, but whose reply cannot become a sample: far longer than asked, empty, filtered.
 * It costs that call and nothing else; another call may well get a better one.
 */
import { VigorlError } from "../core/errors.ts";

export class ReplyFault extends VigorlError {
  constructor(message: string, options: { hint?: string; cause?: unknown } = {}) {
    super("input", message, options);
  }
}
