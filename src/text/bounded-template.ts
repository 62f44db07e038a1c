/**
 * A chat template that ends. Templates are programs of whoever published the folder: every statement
 * and every character of a value counts as work, and a rendering that does far more of it than any
 * conversation needs is stopped. Work is counted, not timed, so that a busy machine changes no result.
 */
import { Interpreter, Template, type Environment } from "@huggingface/jinja";
import { asPython, knownValue } from "./template-values.ts";

/** Statements and expressions of one rendering besides what its messages are worth. */
const MAX_WORK = 200_000;
/** The same for each message; templates take some dozens. */
const MAX_WORK_A_MESSAGE = 1000;
/** Characters of strings, and entries of lists, that count as much as one statement. */
const SIZE_A_WORK = 16;
/** How often the text of the messages may be read before that counts as too much. */
const MAX_READS = 200;
const MAX_RANGE = 100_000;
/** Statements within statements, and macros within macros. */
const MAX_DEPTH = 400;

/** What is left to the rendering that runs; renderings are synchronous, so there is one at most. */
let left = Infinity;
let depth = 0;

// The library's own `Template` makes its interpreter itself, so that this is the only place to stand.
const evaluate = Reflect.get(Interpreter.prototype, "evaluate") as Interpreter["evaluate"];

Interpreter.prototype.evaluate = function (...args: Parameters<Interpreter["evaluate"]>) {
  const known = knownValue(args[0]);
  if (known !== undefined) return known as ReturnType<Interpreter["evaluate"]>;
  if (++depth > MAX_DEPTH) throw new Error("it nests too deep");
  const environment = args[1] as Environment;
  if (depth === 1 && environment.variables.delete("range")) environment.set("range", range);
  try {
    const statement = asPython(this, args[0], environment) as (typeof args)[0];
    const value = evaluate.call(this, statement, environment);
    const held: unknown = value.value;
    const size = typeof held === "string" || Array.isArray(held) ? held.length : 0;
    left -= 1 + size / SIZE_A_WORK;
    if (left < 0) throw new Error("it does not come to an end");
    return value;
  } finally {
    depth--;
  }
};

export class BoundedTemplate {
  private readonly template: Template;

  /** @throws what the parser throws. */
  constructor(source: string) {
    this.template = new Template(source);
  }

  /**
   * The text of a conversation.
   * @param text number of messages and of all their characters
   * @throws Error where the template fails, loops or grows without end
   */
  render(
    variables: Readonly<Record<string, unknown>>,
    text: { readonly messages: number; readonly characters: number },
  ): string {
    left =
      MAX_WORK + MAX_WORK_A_MESSAGE * text.messages + (MAX_READS * text.characters) / SIZE_A_WORK;
    depth = 0;
    try {
      return this.template.render({ ...variables });
    } finally {
      left = Infinity;
      depth = 0;
    }
  }
}

/** Python's `range`, of a length that fits in memory. */
function range(first: number, last?: number, step = 1): number[] {
  const [start, stop] = last === undefined ? [0, first] : [first, last];
  const length = Math.max(0, Math.ceil((stop - start) / step));
  if (!(length <= MAX_RANGE)) throw new Error(`range of ${length} numbers`);
  return Array.from({ length }, (_, i) => start + i * step);
}
