/** What all test files of a run share: a temporary folder, removed at the end, and the addon's path. */
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { addonPath } from "../src/torch/addon.ts";

export default function setup(): () => void {
  const folder = mkdtempSync(join(tmpdir(), "vigorl-tests-"));
  process.env.TMPDIR = folder;
  addonPath();
  return () => rmSync(folder, { recursive: true, force: true });
}
