import fc from "fast-check";
import { expect, test } from "vitest";
import { escapeHtml, html } from "./html.ts";

test("values are escaped, templates are not", () => {
  const model = `<script>alert("1")</script>`;
  expect(html`<p title="${model}">${[html`<b>${model}</b>`, 1, null, false]}</p>`.markup).toBe(
    '<p title="&lt;script&gt;alert(&quot;1&quot;)&lt;/script&gt;"><b>&lt;script&gt;alert(&quot;1&quot;)&lt;/script&gt;</b>1</p>',
  );
});

test("escaped text holds no markup and no control characters", () => {
  fc.assert(
    fc.property(fc.string({ unit: "binary" }), (text) => {
      expect(escapeHtml(text)).not.toMatch(/[<>"']|&(?!amp;|lt;|gt;|quot;|#39;)/);
      expect(escapeHtml(text)).not.toMatch(/(?![\t\n\r])\p{Cc}/u);
    }),
  );
});
