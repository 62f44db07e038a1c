/** `vigorl serve` from outside: it says where it is, answers, and ends when it is interrupted. */
import { spawn } from "node:child_process";
import { once } from "node:events";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join, resolve } from "node:path";
import { createInterface } from "node:readline";
import { expect, test } from "vitest";
import { z } from "zod";

const root = resolve(import.meta.dirname, "..");

test.each([
  ["is interrupted", "SIGINT"],
  ["loses its terminal", "SIGHUP"],
] as const)("serve says where it is, answers, and ends when it %s", async (_, signal) => {
  const folder = mkdtempSync(join(tmpdir(), "vigorl-serve-"));
  const loader = `file://${root}/node_modules/tsx/dist/loader.mjs`;
  const args = ["serve", "--port", "0", "--json", "--api-key-env", "TEST_KEY", "--name", "little"];
  const child = spawn(process.execPath, ["--import", loader, join(root, "src/cli.ts"), ...args], {
    cwd: folder,
    env: { ...process.env, OMP_NUM_THREADS: "1", TEST_KEY: "secret" },
    stdio: ["ignore", "pipe", "inherit"],
  });
  const exited = once(child, "exit");
  try {
    const [line] = (await once(createInterface(child.stdout), "line")) as [string];
    const { url, model } = z.object({ url: z.string(), model: z.string() }).parse(JSON.parse(line));
    expect(model).toBe("little");
    expect((await fetch(`${url}/models`)).status).toBe(401);
    const answer = await fetch(`${url}/chat/completions`, {
      method: "POST",
      headers: { "content-type": "application/json", authorization: "Bearer secret" },
      body: JSON.stringify({ model, messages: [{ role: "user", content: "hi" }], max_tokens: 2 }),
    });
    expect(await answer.json()).toMatchObject({ object: "chat.completion", model });
    child.kill(signal);
    expect(await exited).toEqual([0, null]);
  } finally {
    child.kill("SIGKILL");
    rmSync(folder, { recursive: true, force: true });
  }
});
