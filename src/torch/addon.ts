/**
 * Where the compiled addon is. `native/build.sh` knows, and compiles it where nobody has yet; its answer
 * is kept in the environment variable VIGORL_ADDON, so that threads and child processes need not ask.
 */
import { spawn, spawnSync } from "node:child_process";
import { VigorlError } from "../core/errors.ts";
import { ownPath } from "../core/paths.ts";

/** Path of the addon. The first call of a process asks the script, which takes two minutes to compile. */
export function addonPath(): string {
  const known = process.env.VIGORL_ADDON;
  if (known !== undefined) return known;
  const { stdout, status, error } = spawnSync("bash", [script()], { stdio, encoding: "utf8" });
  return remember(status, stdout, error);
}

/** `addonPath` for callers whose event loop must go on meanwhile; called before threads are started. */
export async function prepareAddon(): Promise<string> {
  const known = process.env.VIGORL_ADDON;
  if (known !== undefined) return known;
  const child = spawn("bash", [script()], { stdio });
  let stdout = "";
  child.stdout.setEncoding("utf8").on("data", (text: string) => (stdout += text));
  const { status, error } = await new Promise<{ status: number | null; error?: Error }>(
    (resolve) => {
      child.on("error", (error) => resolve({ status: null, error }));
      child.on("close", (status) => resolve({ status }));
    },
  );
  return remember(status, stdout, error);
}

// What the script says for people goes to stderr as it comes: compiling takes its time.
const stdio: ["ignore", "pipe", "inherit"] = ["ignore", "pipe", "inherit"];
const script = () => ownPath("native/build.sh");

function remember(status: number | null, stdout: string, cause?: Error): string {
  if (status !== 0) {
    const reason = cause?.message ?? "what set-up said stands above";
    throw new VigorlError("missing", `the libtorch addon could not be made: ${reason}`, {
      hint: `bash ${script()}   (tries again; docs/doctor.md lists what it needs)`,
      cause,
    });
  }
  return (process.env.VIGORL_ADDON = stdout.trim());
}
