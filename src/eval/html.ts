/**
 * HTML by tagged template: everything put into a template is escaped unless it came out of one.
 * So text that a model wrote can never become markup, and nobody has to remember to escape it.
 */

import { plainText } from "../core/plain-text.ts";

/** Markup that is safe to put into a page as it stands. */
export class Html {
  readonly markup: string;

  constructor(markup: string) {
    this.markup = markup;
  }
}

export type HtmlValue = Html | string | number | null | undefined | false | readonly HtmlValue[];

/** Builds markup; strings and numbers are escaped, lists joined, null, undefined and false left out. */
export function html(strings: TemplateStringsArray, ...values: HtmlValue[]): Html {
  let markup = strings[0];
  for (const [i, value] of values.entries()) markup += render(value) + strings[i + 1];
  return new Html(markup);
}

/** Escapes text for element content and for quoted attributes; drops what HTML forbids. */
export function escapeHtml(text: string): string {
  return plainText(text).replace(/[&<>"']/g, (character) => ENTITIES[character]);
}

const ENTITIES: Record<string, string> = {
  "&": "&amp;",
  "<": "&lt;",
  ">": "&gt;",
  '"': "&quot;",
  "'": "&#39;",
};

function render(value: HtmlValue): string {
  if (value === null || value === undefined || value === false) return "";
  if (value instanceof Html) return value.markup;
  if (typeof value === "object") return value.map(render).join("");
  return escapeHtml(String(value));
}
