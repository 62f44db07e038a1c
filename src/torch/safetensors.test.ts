/** Round trips, files of the Python package (python.safetensors), and headers that lie. */
import { execFileSync } from "node:child_process";
import { mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import fc from "fast-check";
import { afterAll, describe, expect, it } from "vitest";
import { VigorlError } from "../core/errors.ts";
import { type Tensor } from "./ops.ts";
import { writeSafetensors, writeSafetensorsFolder } from "./safetensors-write.ts";
import { openSafetensors } from "./safetensors.ts";
import { scope } from "./scope.ts";
import { tensor } from "./tensor.ts";

const folder = mkdtempSync(join(tmpdir(), "vigorl-safetensors-"));
const fromPython = fileURLToPath(new URL("./fixtures/python.safetensors", import.meta.url));
afterAll(() => rmSync(folder, { recursive: true }));

function withHeader(header: string | Uint8Array, numDataBytes: number, length?: bigint): string {
  const text = typeof header === "string" ? new TextEncoder().encode(header) : header;
  const bytes = new Uint8Array(8 + text.length + numDataBytes);
  new DataView(bytes.buffer).setBigUint64(0, length ?? BigInt(text.length), true);
  bytes.set(text, 8);
  const file = join(folder, "hostile.safetensors");
  writeFileSync(file, bytes);
  return file;
}

const f32 = (shape: number[], from: number, to: number) => ({
  dtype: "F32",
  shape,
  data_offsets: [from, to],
});

describe("safetensors", () => {
  it("reads what the Python package wrote, and writes the same bytes", () => {
    scope(() => {
      const opened = openSafetensors(fromPython);
      expect(opened.metadata).toEqual({ format: "pt" });
      expect([...opened.names].sort()).toHaveLength(11);
      expect(opened.read("a.bias").tolist()).toEqual([1, -0.5, 65504]);
      expect(opened.read("a.bias").dtype).toBe("float16");
      expect(opened.read("a.weight", { dtype: "float32" }).dtype).toBe("float32");
      expect(opened.read("7").toArray()).toEqual(new BigInt64Array([2n ** 53n + 1n, -5n]));
      expect(opened.read("double").item()).toBe(3.14159265358979);
      expect(opened.read("mask").toNumbers()).toEqual([1, 0, 1]);
      expect(opened.read("empty").shape).toEqual([0, 3]);
      expect(opened.info("b.weight")).toMatchObject({ dtype: "float32", shape: [2, 2] });
      const tensors = new Map(opened.names.map((name) => [name, opened.read(name)]));
      const copy = join(folder, "copy.safetensors");
      writeSafetensors(copy, tensors, { metadata: opened.metadata });
      expect(readFileSync(copy).equals(readFileSync(fromPython))).toBe(true);
      opened.close();
      opened.close();
      expect(() => opened.read("7")).toThrow("closed");
    });
  });

  it("gives the file's own memory, which outlives it and is written to by nobody", () => {
    const file = join(folder, "mapped.safetensors");
    scope(() => {
      const values = Array.from({ length: 5000 }, (_, i) => i);
      const odd = tensor([1, 2, 3], { dtype: "uint8" });
      writeSafetensors(
        file,
        new Map([
          ["odd", odd],
          ["values", tensor(values)],
        ]),
        {},
      );
      const bytes = readFileSync(file);
      const opened = openSafetensors(file);
      const [one, other] = [opened.read("values"), opened.read("values")];
      opened.close();
      one.mul_(2);
      expect(other.toNumbers()).toEqual(values);
      expect(readFileSync(file).equals(bytes)).toBe(true);
      rmSync(file);
      expect(one.toNumbers()).toEqual(values.map((value) => 2 * value));
      expect(other.toNumbers()).toEqual(values);
    });
  });

  it("writes and reads shards, and leaves no half-written files", () => {
    scope(() => {
      const tensors = new Map<string, Tensor>(
        Array.from({ length: 5 }, (_, i) => [`layer.${i}`, tensor([i, i + 0.5]).t()]),
      );
      const target = join(folder, "sharded");
      writeSafetensorsFolder(target, tensors, { maxShardBytes: 16 });
      expect(readdirSync(target).sort()).toEqual([
        "model-00001-of-00003.safetensors",
        "model-00002-of-00003.safetensors",
        "model-00003-of-00003.safetensors",
        "model.safetensors.index.json",
      ]);
      const opened = openSafetensors(target);
      expect(opened.names).toEqual([...tensors.keys()]);
      expect(opened.read("layer.3").toNumbers()).toEqual([3, 3.5]);
      expect(opened.info("layer.3").numBytes).toBe(8);
      expect(() => opened.read("layer.9")).toThrow("no tensor layer.9");
      opened.close();
      writeSafetensorsFolder(target, tensors);
      expect(openSafetensors(target).names).toHaveLength(5);
      expect(() => writeSafetensors(join(folder, "no", "x.safetensors"), tensors)).toThrow(
        "ENOENT",
      );
    });
  });

  it("refuses what is no regular file", () => {
    const folder = mkdtempSync(join(tmpdir(), "vigorl-safetensors-"));
    execFileSync("mkfifo", [join(folder, "model.safetensors")]);
    expect(() => openSafetensors(folder)).toThrow("model.safetensors: is a named pipe, not a file");
  });

  it("refuses an index that points elsewhere or at nothing", () => {
    const index = join(folder, "model.safetensors.index.json");
    const put = (map: object) => writeFileSync(index, JSON.stringify({ weight_map: map }));
    put({ a: "../../etc/passwd" });
    expect(() => openSafetensors(index)).toThrow("outside the folder");
    put({ a: "gone.safetensors" });
    expect(() => openSafetensors(index)).toThrow("gone.safetensors: missing");
    put([]);
    expect(() => openSafetensors(index)).toThrow("weight_map");
    expect(() => openSafetensors(join(folder, "nowhere"))).toThrow("no such file or folder");
  });

  const good = f32([2], 0, 8);
  const hostile: [string, string | Uint8Array, number, RegExp, bigint?][] = [
    ["a huge header length", "{}", 0, /header of 18446744073709552000 bytes/, 2n ** 64n - 1n],
    ["a header longer than the file", "{}", 0, /in a shorter file/, 50n],
    ["a header that is not JSON", "{nonsense", 0, /not JSON/],
    ["a header that is not UTF-8", new Uint8Array([0x7b, 0xff, 0xfe, 0x7d]), 0, /UTF-8/],
    ["a list", "[1,2,3]", 0, /not a JSON object/],
    ["null", "null ", 0, /not a JSON object/],
    ["a number as tensor", '{"a":3}', 0, /tensor a: /],
    ["an unknown field", JSON.stringify({ a: { ...good, x: 1 } }), 8, /tensor a: .*"x"/],
    ["an unknown dtype", JSON.stringify({ a: { ...good, dtype: "F8" } }), 8, /dtype F8/],
    [
      "an inherited name as dtype",
      JSON.stringify({ a: { ...good, dtype: "toString" } }),
      8,
      /dtype/,
    ],
    ["a negative size", JSON.stringify({ a: f32([-2], 0, 8) }), 8, /tensor a: /],
    [
      "a size that overflows",
      JSON.stringify({ a: f32([2 ** 40, 2 ** 40], 0, 8) }),
      8,
      /tensor a: /,
    ],
    ["offsets of another size", JSON.stringify({ a: f32([3], 0, 8) }), 8, /takes 12 bytes/],
    ["offsets backwards", JSON.stringify({ a: f32([0], 8, 0) }), 8, /tensor a: /],
    ["offsets beyond the end", JSON.stringify({ a: f32([4], 0, 16) }), 8, /ends after the file/],
    ["overlap", JSON.stringify({ a: good, b: f32([2], 4, 12) }), 12, /tensor b: overlaps/],
    ["a gap", JSON.stringify({ a: good, b: f32([1], 12, 16) }), 16, /tensor b: a gap/],
    ["bytes left over", JSON.stringify({ a: good }), 9, /1 bytes after the last tensor/],
    [
      "a name given twice",
      `{"a":${JSON.stringify(good)},"\\u0061":${JSON.stringify(good)}}`,
      8,
      /the header has the key "a" twice/,
    ],
    ["metadata that is no text", '{"__metadata__":{"a":1}}', 0, /__metadata__/],
  ];
  it.each(hostile)("refuses %s", (_, header, numDataBytes, message, length) => {
    const file = withHeader(header, numDataBytes, length);
    expect(() => openSafetensors(file)).toThrow(message);
    expect(() => openSafetensors(file)).toThrow(VigorlError);
    expect(() => openSafetensors(file)).toThrow("hostile.safetensors");
  });

  it("refuses an empty file and survives any bytes", () => {
    const file = join(folder, "noise.safetensors");
    writeFileSync(file, "");
    expect(() => openSafetensors(file)).toThrow("too short");
    fc.assert(
      fc.property(fc.uint8Array({ minLength: 10, maxLength: 60 }), (bytes) => {
        writeFileSync(file, bytes);
        expect(() => openSafetensors(file)).toThrow(VigorlError);
      }),
      { numRuns: 50 },
    );
  });
});
