import { mkdir, mkdtemp, readdir } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { expect, test } from "vitest";
import { armFolder, isArmDone, readArm, runArm, type ArmOptions } from "./arm.ts";

test("an arm whose name leads out of its run touches nothing", async () => {
  const root = await mkdtemp(join(tmpdir(), "vigorl-arm-"));
  const run = join(root, "run");
  await mkdir(join(root, "victim", "none"), { recursive: true });
  await mkdir(join(run, "eval"), { recursive: true });
  for (const [task, arm] of [
    ["../../victim", "none"],
    ["..", ".."],
    ["search", "../../../victim/none"],
  ]) {
    const options = { folder: run, task, arm } as ArmOptions;
    await expect(runArm(options)).rejects.toMatchObject({ name: "VigorlError" });
    expect(() => armFolder(run, task, arm)).toThrow("outside the folder");
    expect(() => isArmDone(run, task, arm)).toThrow("outside the folder");
    await expect(readArm(run, task, arm)).rejects.toThrow("outside the folder");
  }
  expect(await readdir(join(root, "victim"))).toEqual(["none"]);
});
