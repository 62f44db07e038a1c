/**
 * native/build.sh: where the addon goes, and when it is compiled. The compiler is a script that writes
 * empty files and a line of a log; libtorch is a folder of empty libraries.
 */
import { execFileSync, spawnSync } from "node:child_process";
import {
  appendFileSync,
  chmodSync,
  cpSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readFileSync,
  rmSync,
  writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join, resolve } from "node:path";
import { afterEach, beforeEach, expect, test } from "vitest";

const repository = resolve(import.meta.dirname, "..");
let folder: string;
let bin: string;

beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), "vigorl-setup-"));
  bin = join(folder, "bin");
  write("bin/g++", compiler);
  chmodSync(join(bin, "g++"), 0o755);
});
afterEach(() => rmSync(folder, { recursive: true, force: true }));

/** Logs what it compiles or links; refuses graph.cpp for CUDA until crt/host_defines.h is in sight. */
const compiler = `#!/usr/bin/env bash
here=$(dirname "$0")
case "$*" in
*-dumpmachine*) echo none; exit ;;
*-fsyntax-only*)
  for word in "$@"; do [ -e "$word/crt/host_defines.h" ] && exit 0; done
  echo "cuda_runtime_api.h:1:10: fatal error: crt/host_defines.h: No such file or directory" >&2
  exit 1 ;;
esac
while [ $# -gt 0 ]; do
  case $1 in -o) out=$2; shift ;; *.cpp) source=$1 ;; -DVIGORL_CUDA_GRAPHS) graphs=graphs ;; esac
  shift
done
[ "$out" = /dev/null ] || { echo "$source \${graphs:-}" >>"$here/log"; : >"$out"; }
`;

function write(path: string, text: string): void {
  mkdirSync(dirname(join(folder, path)), { recursive: true });
  writeFileSync(join(folder, path), text);
}

/** A folder like libtorch's, with CUDA's libraries by choice. */
function libtorch(name: string, cuda = false): string {
  const version = ["MAJOR 2", "MINOR 13", "PATCH 0"];
  write(
    `${name}/include/torch/headeronly/version.h`,
    version.map((line) => `#define TORCH_VERSION_${line}\n`).join(""),
  );
  mkdirSync(join(folder, name, "include/ATen"));
  write(`${name}/lib/libtorch_cpu.so`, "");
  write(`${name}/lib/libc10.so`, "");
  if (cuda) write(`${name}/lib/libtorch_cuda.so`, "");
  return join(folder, name);
}

/** A copy of what the script needs, at `path`. */
function checkout(path: string): string {
  const root = join(folder, path);
  cpSync(join(repository, "native"), join(root, "native"), { recursive: true });
  write(`${path}/node_modules/node-api-headers/include/node_api.h`, "");
  return root;
}

function build(root: string, torch: string) {
  const env = {
    PATH: `${bin}:${process.env.PATH}`,
    HOME: folder,
    XDG_CACHE_HOME: join(folder, "cache"),
    CUDA_HOME: join(folder, "no-cuda"),
    LIBTORCH: torch,
  };
  const script = join(root, "native/build.sh");
  const { status, stdout, stderr } = spawnSync("bash", [script], { env, encoding: "utf8" });
  return { status, stderr, addon: stdout.trim() };
}

/** What was compiled since the last call. */
function compiled(): string[] {
  const log = join(bin, "log");
  const lines = existsSync(log) ? readFileSync(log, "utf8").split("\n").slice(0, -1) : [];
  rmSync(log, { force: true });
  return lines;
}

const record = (addon: string): unknown =>
  JSON.parse(readFileSync(join(dirname(addon), "libtorch.json"), "utf8"));

test("a checkout keeps its builds, one for each libtorch, and locks only to build", () => {
  const root = checkout("checkout");
  const [first, second] = [libtorch("first"), libtorch("second")];
  const { addon, status } = build(root, first);
  expect(status).toBe(0);
  expect(addon).toMatch(/checkout\/build\/[0-9a-f]{16}\/vigorl\.node$/);
  expect(record(addon)).toMatchObject({ version: "2.13.0", source: "env", root: first });
  expect(compiled().length).toBeGreaterThan(10);

  expect(build(root, second).addon).not.toBe(addon);
  compiled();
  rmSync(join(root, "build/.lock"));
  expect(build(root, first).addon).toBe(addon);
  expect(compiled()).toEqual([]);
  expect(existsSync(join(root, "build/.lock"))).toBe(false);

  appendFileSync(join(root, "native/addon.cpp"), "\n");
  expect(build(root, first).addon).not.toBe(addon);
});

test("a checkout that cannot be written, and an installed package, use the user's cache", () => {
  const torch = libtorch("torch");
  const shared = checkout("shared");
  writeFileSync(join(shared, "build"), "a file in the place of the folder, which stops root too");
  const { addon } = build(shared, torch);
  expect(dirname(dirname(addon))).toBe(join(folder, "cache/vigorl/addon"));
  compiled();
  const installed = checkout("project/node_modules/vigorl");
  expect(build(installed, torch).addon).toBe(addon);
  expect(compiled()).toEqual([]);

  rmSync(join(folder, "cache"), { recursive: true });
  writeFileSync(join(folder, "cache"), "no folder either");
  const nowhere = build(shared, torch);
  expect(nowhere.status).toBe(2);
  expect(nowhere.stderr).toMatch(/no permission to write\n {2}fix: set XDG_CACHE_HOME/);
});

test("two processes that start at once compile once", () => {
  const root = checkout("checkout");
  const torch = libtorch("torch");
  const script = `for i in 1 2; do bash '${root}/native/build.sh' & done; wait`;
  const env = { PATH: `${bin}:${process.env.PATH}`, HOME: folder, LIBTORCH: torch };
  const lines = execFileSync("bash", ["-c", script], { env, encoding: "utf8", stdio: "pipe" });
  expect(new Set(lines.trim().split("\n")).size).toBe(1);
  const links = compiled().filter((line) => line.trim() === "");
  expect(links.length).toBe(1);
});

test("CUDA graphs stay off while a header is missing, and come with it", () => {
  const root = checkout("checkout");
  const torch = libtorch("site-packages/torch", true);
  expect(record(build(root, torch).addon)).toMatchObject({ cudaGraphs: "none" });
  compiled();

  const headers = "site-packages/nvidia/cu13/include";
  write(`${headers}/cuda_runtime_api.h`, "#define CUDART_VERSION  13050\n");
  const without = build(root, torch);
  expect(without.stderr).toMatch(
    /CUDA graphs stay off: crt\/host_defines\.h is missing\n {2}fix: /,
  );
  expect(without.stderr).toContain("pip install 'nvidia-cuda-crt==13.5.*'");
  expect(record(without.addon)).toMatchObject({ cudaGraphs: "crt/host_defines.h is missing" });
  expect(compiled()).not.toContain("native/graph.cpp graphs");

  write(`${headers}/crt/host_defines.h`, "");
  const built = build(root, torch);
  expect(record(built.addon)).toMatchObject({ cudaGraphs: "on" });
  expect(compiled()).toContain("native/graph.cpp graphs");
});

test("a libtorch that is none is refused with its fix", () => {
  const { status, stderr } = build(checkout("checkout"), join(folder, "nothing"));
  expect(status).toBe(2);
  expect(stderr).toMatch(/LIBTORCH=.*nothing is no libtorch[^]*fix: unset LIBTORCH/);
});
