/** The page at `/`: a picture is dropped on it, asked about, and shown with where the model looked. */
import { createHash } from "node:crypto";
import { readFileSync } from "node:fs";
import { ownPath } from "../core/paths.ts";

let text: string | undefined;

export function askPage(): string {
  return (text ??= readFileSync(ownPath("src/serve/assets/page.html"), "utf8"));
}

/** It runs its own script and nothing else, and speaks to its own server alone. */
export function pagePolicy(): string {
  const script = /<script>([^]*?)<\/script>/.exec(askPage())?.[1] ?? "";
  const hash = createHash("sha256").update(script).digest("base64");
  return `default-src 'none'; script-src 'sha256-${hash}'; style-src 'unsafe-inline'; img-src data: blob:; connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'`;
}
