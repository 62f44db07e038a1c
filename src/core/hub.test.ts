import { createHash } from "node:crypto";
import { mkdtemp, readFile, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, expect, test } from "vitest";
import { cachedSnapshot, fetchSnapshot, isHubName } from "./hub.ts";

const commit = "0123456789abcdef0123456789abcdef01234567";
const repo = { kind: "dataset", name: "owner/set" } as const;
let cacheDir: string;

beforeEach(async () => {
  cacheDir = await mkdtemp(join(tmpdir(), "vigorl-hub-"));
});
afterEach(() => rm(cacheDir, { recursive: true, force: true }));

const gitHash = (text: string) =>
  createHash("sha1")
    .update(`blob ${Buffer.byteLength(text)}\0${text}`)
    .digest("hex");
const sha256 = (text: string) => createHash("sha256").update(text).digest("hex");

/** A hub with these files, in memory; `asked` lists what was resolved. */
function hubWith(files: Readonly<Record<string, string>>, sent = files) {
  const asked: string[] = [];
  const entries = Object.entries(files).map(([path, text]) => ({
    type: "file",
    path,
    size: text.length,
    oid: gitHash(text),
    ...(path.endsWith(".bin")
      ? { lfs: { oid: sha256(text), size: text.length, pointerSize: 9 } }
      : {}),
    lastCommit: { id: commit, title: "t", date: "2026-01-01T00:00:00Z" },
  }));
  const fake: typeof fetch = (input, init) => {
    const url = new URL(input instanceof Request ? input.url : input);
    const json = (value: unknown) => Promise.resolve(Response.json(value));
    if (url.pathname.includes("/revision/")) return json({ id: repo.name, sha: commit });
    if (url.pathname.includes("/tree/")) return json(entries);
    if (url.pathname.includes("/paths-info/")) {
      const { paths } = JSON.parse(String(init?.body as string)) as { paths: string[] };
      return json(entries.filter(({ path }) => paths.includes(path)));
    }
    const path = decodeURIComponent(url.pathname.split(`/resolve/${commit}/`)[1] ?? "");
    asked.push(path);
    const text = sent[path] ?? "";
    return Promise.resolve(
      new Response(text, {
        headers: {
          etag: `"${gitHash(text)}"`,
          "content-range": `bytes 0-0/${text.length}`,
          "content-length": String(text.length),
        },
      }),
    );
  };
  return { fetch: fake, asked };
}

test("fetches what is wanted, once, into the standard cache, and pins the commit", async () => {
  const files = { "data/val.json": "[1]", "data/a.bin": "large", "README.md": "no" };
  const { fetch, asked } = hubWith(files);
  const wants = (path: string) => path.startsWith("data/");
  const snapshot = await fetchSnapshot(repo, wants, ["data/*"], { cacheDir, fetch });
  expect(snapshot).toEqual({
    revision: commit,
    folder: join(cacheDir, "datasets--owner--set/snapshots", commit),
  });
  expect(await readFile(join(snapshot.folder, "data/val.json"), "utf8")).toBe("[1]");
  expect([...new Set(asked)].sort()).toEqual(["data/a.bin", "data/val.json"]);
  expect(await cachedSnapshot(repo, { cacheDir })).toEqual(snapshot);
  asked.length = 0;
  await fetchSnapshot(repo, wants, ["data/*"], { cacheDir, fetch });
  expect(asked).toEqual([]);
});

test("a file that arrives damaged is removed, and the next try fetches it again", async () => {
  const files = { "a.json": "[1, 2]", "b.bin": "large" };
  const bad = hubWith(files, { ...files, "b.bin": "lirge" });
  const wants = () => true;
  await expect(fetchSnapshot(repo, wants, [], { cacheDir, fetch: bad.fetch })).rejects.toThrow(
    /b\.bin arrived damaged/,
  );
  const good = hubWith(files);
  const { folder } = await fetchSnapshot(repo, wants, [], { cacheDir, fetch: good.fetch });
  expect(await readFile(join(folder, "b.bin"), "utf8")).toBe("large");
  expect([...new Set(good.asked)]).toEqual(["b.bin"]);
});

test("without a network: which files, and where they belong", async () => {
  const fetch = () =>
    Promise.reject(new TypeError("fetch failed", { cause: new Error("ENOTFOUND") }));
  const failing = fetchSnapshot(repo, () => true, ["data/val-*.parquet"], { cacheDir, fetch });
  await expect(failing).rejects.toMatchObject({
    code: "io",
    message: "owner/set: the hub cannot be reached: ENOTFOUND",
    hint: expect.stringMatching(/data\/val-\*\.parquet[^]*--data[^]*datasets--owner--set/),
  });
  expect(await cachedSnapshot(repo, { cacheDir })).toBeNull();
});

test("a repository that is not there, or has other files", async () => {
  const gone = () => Promise.resolve(new Response("{}", { status: 404 }));
  await expect(fetchSnapshot(repo, () => true, [], { cacheDir, fetch: gone })).rejects.toThrow(
    /no such dataset for you \(404\)/,
  );
  const { fetch } = hubWith({ "a.json": "1" });
  await expect(fetchSnapshot(repo, () => false, ["b.json"], { cacheDir, fetch })).rejects.toThrow(
    /none of the files b\.json/,
  );
});

test("names of the hub", () => {
  expect(["Qwen/Qwen2.5-VL-3B-Instruct", "a/b"].map(isHubName)).toEqual([true, true]);
  expect(
    ["models/nano", "./a/b", "/a/b", "a/b/c", "nano", "../b/c", "a/.."].map(isHubName),
  ).toEqual([false, false, false, false, false, false, false]);
});
