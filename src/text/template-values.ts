/**
 * Values in chat templates as Python has them, where the library that renders here has JavaScript's: true
 * is written `True`, and text joins to nothing but text. A template that adds a list to a text fails in
 * transformers; here it would show the model the list.
 */
import type { Environment, Interpreter } from "@huggingface/jinja";

/** A value as the library has it. */
interface Value {
  readonly type: string;
  readonly value: unknown;
}

/** A statement of a template, of whichever type, with the parts that are looked at here. */
interface Statement {
  readonly type: string;
  readonly operator?: { readonly value: string };
  readonly left?: Statement;
  readonly right?: Statement;
  readonly operand?: Statement;
  readonly filter?: { readonly value?: unknown };
  /** What has been worked out, in a statement that stands in for it. */
  readonly known?: Value;
}

/** What a statement stands for that has been worked out. */
export function knownValue(statement: unknown): Value | undefined {
  return (statement as Statement | undefined)?.known;
}

/**
 * A statement to be evaluated in place of another one, to what Python makes of it.
 * @throws Error where Python does
 */
export function asPython(
  interpreter: Interpreter,
  statement: unknown,
  environment: Environment,
): unknown {
  const { type, operator, left, right, operand, filter } = (statement ?? {}) as Statement;
  const valueOf = (part: unknown): Value =>
    interpreter.evaluate(part as Parameters<Interpreter["evaluate"]>[0], environment) as Value;
  if (type === "BinaryExpression" && (operator?.value === "+" || operator?.value === "~")) {
    const values = [valueOf(left), valueOf(right)];
    const [first, second] = values.map((value) => value.type === "StringValue");
    if (operator.value === "+" && first !== second)
      throw new Error(`it adds ${named(values[1])} to ${named(values[0])}`);
    const parts = values.map(operator.value === "~" ? written : known);
    return { ...(statement as Statement), left: parts[0], right: parts[1] };
  }
  if (type === "FilterExpression" && filter?.value === "string") {
    const text = written(valueOf(operand));
    return text.known === undefined ? text : { ...(statement as Statement), operand: text };
  }
  return statement;
}

function known(value: Value): Statement {
  return { type: "Known", known: value };
}

/** A value, as text where the library would write it otherwise than Python. */
function written(value: Value): Statement & { readonly value?: string } {
  if (value.type !== "BooleanValue") return known(value);
  return { type: "StringLiteral", value: value.value === true ? "True" : "False" };
}

function named({ type }: Value): string {
  return type === "StringValue" ? "a text" : `a ${type.replace(/Value$/, "").toLowerCase()}`;
}
