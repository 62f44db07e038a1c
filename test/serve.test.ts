/** `vigorl serve` from outside: it says where it is, answers, and ends when it is interrupted. */
import { spawn, type ChildProcess } from "node:child_process";
import { once } from "node:events";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join, resolve } from "node:path";
import { createInterface } from "node:readline";
import { expect, test } from "vitest";
import { z } from "zod";
import { makeTinyModel } from "./fixtures/tiny.ts";

const root = resolve(import.meta.dirname, "..");

/** Starts `vigorl serve` in a folder of its own that goes with it; `work` may end it. */
async function whileServing(
  args: readonly string[],
  work: (server: { url: string; model: string; child: ChildProcess }) => Promise<void>,
): Promise<void> {
  const folder = mkdtempSync(join(tmpdir(), "vigorl-serve-"));
  const loader = `file://${root}/node_modules/tsx/dist/loader.mjs`;
  const command = ["--import", loader, join(root, "src/cli.ts"), "serve", ...args];
  const child = spawn(process.execPath, [...command, "--port", "0", "--json"], {
    cwd: folder,
    env: { ...process.env, OMP_NUM_THREADS: "1", TEST_KEY: "secret" },
    stdio: ["ignore", "pipe", "inherit"],
  });
  try {
    const [line] = (await once(createInterface(child.stdout), "line")) as [string];
    const said = z.object({ url: z.string(), model: z.string() }).parse(JSON.parse(line));
    await work({ ...said, child });
  } finally {
    child.kill("SIGKILL");
    rmSync(folder, { recursive: true, force: true });
  }
}

const post = (url: string, body: object): Promise<Response> =>
  fetch(`${url}/chat/completions`, {
    method: "POST",
    headers: { "content-type": "application/json", authorization: "Bearer secret" },
    body: JSON.stringify({ messages: [{ role: "user", content: "hi" }], ...body }),
  });

test.each([
  ["is interrupted", "SIGINT"],
  ["loses its terminal", "SIGHUP"],
] as const)("serve says where it is, answers, and ends when it %s", (_, signal) =>
  whileServing(["--api-key-env", "TEST_KEY", "--name", "little"], async ({ url, model, child }) => {
    const exited = once(child, "exit");
    expect(model).toBe("little");
    expect((await fetch(`${url}/models`)).status).toBe(401);
    const answer = await post(url, { model, max_tokens: 2 });
    expect(await answer.json()).toMatchObject({ object: "chat.completion", model });
    child.kill(signal);
    expect(await exited).toEqual([0, null]);
  }),
);

test("serve samples as the folder's generation_config.json says, and a request goes before it", async () => {
  const folder = mkdtempSync(join(tmpdir(), "vigorl-serve-"));
  try {
    await makeTinyModel(folder);
    writeFileSync(join(folder, "generation_config.json"), JSON.stringify({ do_sample: false }));
    await whileServing([folder, "--name", "tiny"], async ({ url }) => {
      const reply = async (body: object): Promise<string> => {
        const answer = await post(url, { model: "tiny", max_tokens: 16, ...body });
        const { choices } = replySchema.parse(await answer.json());
        return choices[0].message.content;
      };
      const likeliest = await reply({ temperature: 0 });
      expect([await reply({ seed: 1 }), await reply({ seed: 2 })]).toEqual([likeliest, likeliest]);
      expect(await reply({ seed: 1, temperature: 1 })).not.toBe(likeliest);
    });
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
});

const replySchema = z.object({
  choices: z.array(z.object({ message: z.object({ content: z.string() }) })).min(1),
});
