/** Templates that loop or grow are stopped; what conversations need is far below the bounds. */
import { describe, expect, test } from "vitest";
import { chat } from "../task/fixtures/scene.ts";
import { BoundedTemplate } from "./bounded-template.ts";
import { ChatFormat } from "./chat.ts";

const render = (source: string) =>
  new BoundedTemplate(source).render({}, { messages: 0, characters: 0 });

describe("a template that", () => {
  test.each([
    ["counts without end", "{% for i in range(10**9) %}x{% endfor %}"],
    ["counts far", "{% for i in range(1000000000) %}x{% endfor %}"],
    ["counts in loops", loops("{% set y = i %}")],
    ["writes in loops", loops("xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx")],
    ["doubles a text", doubling("'x'", "~")],
    ["doubles a list", doubling("[0]", "+")],
    ["calls itself", "{% macro f() %}{{ f() }}{% endmacro %}{{ f() }}"],
  ])("%s ends with an error", (_, source) => {
    expect(() => render(source)).toThrow(Error);
  });
});

test("ranges are Python's", () => {
  const source =
    "{% for i in range(2, 9, 3) %}{{ i }} {% endfor %}{% for i in range(2) %}{{ i }}{% endfor %}";
  expect(render(source)).toBe("2 5 8 01");
  expect(render("{% for i in range(3, 0, -1) %}{{ i }}{% endfor %}")).toBe("321");
});

test.each([
  ["{{ true | string }}{{ 'x' ~ false }}", "TruexFalse"],
  ["{{ 3 | string }} {{ 'a' | string }} {{ 1 ~ 'b' }}", "3 a 1b"],
  ["{{ 'a' + 'b' }} {{ 1 + 2 }} {{ ([1] + [2]) | length }}", "ab 3 2"],
])("values are written as Python writes them: %s", (source, text) => {
  expect(render(source)).toBe(text);
});

test.each(["{{ 'a' + [1] }}", "{{ 'a' + 1 }}", "{{ [1] + 'a' }}", "{{ 'a' + true }}"])(
  "text joins to nothing but text: %s",
  (source) => {
    expect(() => render(source)).toThrow(/it adds a/);
  },
);

test("a long conversation and a long text are no loops", () => {
  const turn = { role: "user" as const, content: "word ".repeat(20) };
  const turns = Array.from({ length: 1000 }, () => turn);
  expect(chat.renderPrompt(turns)).toHaveLength(1);
  const long = "word ".repeat(400_000);
  const [piece] = chat.renderPrompt([{ role: "user", content: long }]);
  expect(piece.type === "text" && piece.text.includes(long)).toBe(true);
});

test("a folder whose template loops is an error of the folder, at once", () => {
  expect(() => new ChatFormat(chat.tokenizer, loops("x"), "folder")).toThrow(
    /^folder: the chat template failed: it does not come to an end/,
  );
});

function loops(inner: string): string {
  const count = "{% for i in range(90000) %}";
  return `${count}${count}${inner}{% endfor %}{% endfor %}`;
}

function doubling(start: string, operator: string): string {
  const set = `{% set ns.x = ns.x ${operator} ns.x %}`;
  return `{% set ns = namespace(x=${start}) %}{% for i in range(64) %}${set}{% endfor %}{{ ns.x }}`;
}
